"""The judge: all guardrails of one comparison, its segments, its health checks, and the level that they share.

Error budget at level alpha (the chance of any wrong "worse" while no guardrail is truly broken, over all looks):
* without segments every one of G guardrails gets alpha / G; with segments half goes to the whole, half to the
  segments, the j-th segment (in order of appearance) getting 6 / (pi j)^2 of it, so that any number of them stays
  inside.
* "kept" is tested at alpha for each guardrail. A candidate is called good only when all are kept, so a broken one
  passes with probability at most alpha however many there are (intersection-union test).
* A change of the response model (or of the price, for costs) starts the comparison again with half the level of the
  run before.
"""

import math
from typing import Literal

import msgspec

from optimizer.core.judge.contrast import Means, add_value, judge_means, open_means
from optimizer.core.judge.guardrail import Guardrail, Outcome, check_guardrail, rule_of
from optimizer.core.judge.ordinal import (
    Order,
    Quantiles,
    add_ordered,
    add_quantile,
    judge_order,
    judge_quantiles,
    open_order,
)
from optimizer.core.judge.shares import Shares, count, mismatch
from optimizer.core.judge.verdict import Verdict
from optimizer.model import InvalidArgument

Contrast = Means | Order | Quantiles

MAX_SEGMENTS = 16  # segments judged apart; further ones count in the whole alone
MAX_GUARDRAILS = 16
LEARNING = 20  # calls of an arm that teach which response models and prices it has
MAX_KNOWN = 16  # different response models or prices remembered per arm
MAX_RESTARTS = 3  # further changes are marked without starting again
MAX_MARKS = 50
CHECK_EVERY = 16  # calls between two looks at the sample ratio


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is judged and how strictly. `limit` is the largest number of candidate outcomes, None when open."""

    guardrails: tuple[Guardrail, ...]
    alpha: float = 0.05
    limit: int | None = None
    min_events: int = 100
    by_segment: bool = False
    on_change: Literal["restart", "mark"] = "restart"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Something other than the change under test changed: `kind` is "response_model", "price" or "sample_ratio"."""

    kind: str
    candidate: bool
    after: str
    at: int
    events: int
    restarted: bool


class Judge(msgspec.Struct):
    """Running state; serialise it with msgspec. `calls` and `known` are [baseline, candidate]."""

    spec: JudgeSpec
    contrasts: list[Contrast]
    levels: list[float]
    opened: list[int]
    segments: dict[str, list[Contrast]] = msgspec.field(default_factory=dict)
    calls: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    shares: Shares = msgspec.field(default_factory=Shares)
    known: list[dict[str, list[str]]] = msgspec.field(default_factory=lambda: [{}, {}])
    marks: list[Mark] = msgspec.field(default_factory=list)
    restarts: int = 0
    unbalanced: bool = False


def open_judge(spec: JudgeSpec) -> Judge:
    """A judge without evidence. Raises InvalidArgument when the specification cannot be kept."""
    if not 1 <= len(spec.guardrails) <= MAX_GUARDRAILS:
        raise InvalidArgument(f"1 to {MAX_GUARDRAILS} guardrails are needed", field="guardrails")
    if not 0.0 < spec.alpha <= 0.5:
        raise InvalidArgument("alpha is above 0 and at most 0.5", field="alpha")
    for guardrail in spec.guardrails:
        check_guardrail(guardrail)
    spec = msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=JudgeSpec)  # numbers in their declared types
    share = spec.alpha / len(spec.guardrails) / (2.0 if spec.by_segment else 1.0)
    levels = [share] * len(spec.guardrails)
    contrasts = [_open(g, spec.limit, share, spec.alpha) for g in spec.guardrails]
    return Judge(spec, contrasts, levels, [0] * len(contrasts))


def observe(judge: Judge, outcome: Outcome, share: float) -> None:
    """Include one outcome, in place; `share` is the candidate's share of the traffic when its arm was chosen."""
    if outcome.call:
        judge.calls[outcome.candidate] += 1
        count(judge.shares, share, not outcome.candidate, outcome.candidate)
        if not judge.unbalanced and sum(judge.calls) % CHECK_EVERY == 0 and mismatch(judge.shares):
            judge.unbalanced = True
            _mark(judge, Mark("sample_ratio", outcome.candidate, f"{share:.4g}", outcome.at, sum(judge.calls), False))
        if outcome.fingerprint is not None:
            _watch(judge, "response_model", outcome.fingerprint, outcome)
        if outcome.price is not None:
            _watch(judge, "price", outcome.price, outcome)
    segment = _segment(judge, outcome.segment) if judge.spec.by_segment and outcome.segment else None
    for i, guardrail in enumerate(judge.spec.guardrails):
        value = outcome.values.get(guardrail.metric)
        if value is None:
            continue
        limit = _limit(judge.spec, judge.opened[i])
        _add(judge.contrasts[i], guardrail, limit, outcome.candidate, value)
        if segment is not None:
            _add(segment[i], guardrail, judge.spec.limit, outcome.candidate, value)


def verdicts(judge: Judge) -> tuple[Verdict, ...]:
    """The verdict of every guardrail on the whole, in their order."""
    spec = judge.spec
    return tuple(
        _judge(state, guardrail, _limit(spec, opened), level, spec.min_events)
        for state, guardrail, opened, level in zip(
            judge.contrasts, spec.guardrails, judge.opened, judge.levels, strict=True
        )
    )


def segment_verdicts(judge: Judge) -> tuple[Verdict, ...]:
    """The verdicts of the segments judged apart, in order of their appearance."""
    spec = judge.spec
    found = []
    for rank, (name, states) in enumerate(judge.segments.items(), start=1):
        for state, guardrail, level in zip(states, spec.guardrails, judge.levels, strict=True):
            verdict = _judge(state, guardrail, spec.limit, _part(level, rank), spec.min_events)
            found.append(msgspec.structs.replace(verdict, segment=name))
    return tuple(found)


def broken(judge: Judge) -> bool:
    """Whether any guardrail, on the whole or in a segment, is shown to be broken. Cheap:
    asked after every outcome.
    """
    return any(_breaks(state) for state in judge.contrasts) or any(
        _breaks(state) for states in judge.segments.values() for state in states
    )


def kept(judge: Judge) -> bool:
    """Whether every guardrail is shown to be kept, with at least the minimum evidence and no open health check."""
    if judge.unbalanced:
        return False
    least = judge.spec.min_events
    return all(_keeps(state, rail, least) for state, rail in zip(judge.contrasts, judge.spec.guardrails, strict=True))


def _open(guardrail: Guardrail, limit: int | None, alpha: float, proof_alpha: float) -> Contrast:
    if guardrail.max_shift is not None:
        return open_order(alpha, proof_alpha)
    if guardrail.quantile is not None and guardrail.max_increase_ratio is not None:
        return Quantiles(alpha)
    return open_means(guardrail, limit, alpha, proof_alpha)


def _add(state: Contrast, guardrail: Guardrail, limit: int | None, candidate: bool, value: float) -> None:
    if isinstance(state, Means):
        add_value(state, rule_of(guardrail, limit), candidate, value)
    elif isinstance(state, Order):
        add_ordered(state, guardrail.max_shift or 0.0, candidate, value)
    else:
        add_quantile(state, guardrail, candidate, value)


def _judge(state: Contrast, guardrail: Guardrail, limit: int | None, alpha: float, least: int) -> Verdict:
    ready = _ready(state, guardrail, least)
    if isinstance(state, Means):
        return judge_means(state, guardrail, limit, alpha, ready=ready)
    if isinstance(state, Order):
        return judge_order(state, guardrail, alpha, ready=ready)
    return judge_quantiles(state, guardrail, ready=ready)


def _ready(state: Contrast, guardrail: Guardrail, least: int) -> bool:
    """Whether both arms (the candidate alone for an absolute bound) have the minimum evidence."""
    seen = [arm.count for arm in state.arms] if isinstance(state, Quantiles) else state.seen
    absolute = isinstance(state, Means) and guardrail.bound[0] in ("min", "max", "max_mean")
    return seen[1] >= least and (absolute or seen[0] >= least)


def _keeps(state: Contrast, guardrail: Guardrail, least: int) -> bool:
    if _breaks(state):
        return False
    if isinstance(state, Quantiles):
        return state.answer in (1, 3) and _ready(state, guardrail, least)
    shown = state.proof.rejects or (isinstance(state, Order) and state.identical and state.pairs > 0)
    return shown and _ready(state, guardrail, least)


def _breaks(state: Contrast) -> bool:
    return state.answer == 2 if isinstance(state, Quantiles) else state.alarm.rejects


def _limit(spec: JudgeSpec, opened: int) -> int | None:
    """The horizon of a contrast that was opened after `opened` candidate calls."""
    return None if spec.limit is None else max(spec.limit - opened, 1)


def _segment(judge: Judge, name: str) -> list[Contrast] | None:
    found = judge.segments.get(name)
    if found is None and len(judge.segments) < MAX_SEGMENTS:
        spec, rank = judge.spec, len(judge.segments) + 1
        rails = zip(spec.guardrails, judge.levels, strict=True)
        found = [_open(g, spec.limit, _part(level, rank), spec.alpha) for g, level in rails]
        judge.segments[name] = found
    return found


def _watch(judge: Judge, kind: str, value: str, outcome: Outcome) -> None:
    """Learn what an arm usually has; later news is a mark, and starts the affected comparisons again."""
    known = judge.known[outcome.candidate].setdefault(kind, [])
    if value in known:
        return
    if len(known) < MAX_KNOWN:
        known.append(value)
    if judge.calls[outcome.candidate] <= LEARNING:
        return
    calls = sum(judge.calls)
    twin = any(
        m.restarted and m.after == value and calls - m.events <= LEARNING for m in judge.marks
    )  # both arms at once
    again = judge.spec.on_change == "restart" and judge.restarts < MAX_RESTARTS and not twin
    _mark(judge, Mark(kind, outcome.candidate, value, outcome.at, calls, again))
    if again:
        judge.restarts += 1
        _restart(judge, costs_only=kind == "price")


def _mark(judge: Judge, mark: Mark) -> None:
    judge.marks = [*judge.marks, mark][-MAX_MARKS:]


def _restart(judge: Judge, *, costs_only: bool) -> None:
    spec = judge.spec
    for i, guardrail in enumerate(spec.guardrails):
        if costs_only and not guardrail.metric.startswith("cost"):
            continue
        judge.levels[i] /= 2.0
        judge.opened[i] = judge.calls[1]
        proof_alpha = spec.alpha / 2.0**judge.restarts
        judge.contrasts[i] = _open(guardrail, _limit(spec, judge.opened[i]), judge.levels[i], proof_alpha)
        for rank, states in enumerate(judge.segments.values(), start=1):
            states[i] = _open(guardrail, spec.limit, _part(judge.levels[i], rank), proof_alpha)


def _part(level: float, rank: int) -> float:
    """The part of the segments' half that the rank-th segment gets (the whole's share is as large as the half)."""
    return level * 6.0 / (math.pi * rank) ** 2
