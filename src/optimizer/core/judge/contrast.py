"""The running comparison of means behind one guardrail: bounded, capped, or against a fixed bound."""

import math

import msgspec

from optimizer.core.judge.guardrail import Guardrail, Rule, rule_of
from optimizer.core.judge.interval import Stream, bounds
from optimizer.core.judge.pairing import Pairing, Tally, match
from optimizer.core.judge.spread import Spread, add_spread, spread_changed
from optimizer.core.judge.verdict import Verdict, word_of
from optimizer.core.judge.wager import Wager, bet, open_wager

CAP_FACTOR = 2.0  # the cap is this times the largest of the first outcomes
CAP_POSITIVES = 20  # positive outcomes that teach the cap; they are not part of the test
CAP_TRIES = 1000  # with fewer positive ones among so many outcomes, those that came must do


class Means(msgspec.Struct, array_like=True, tag="means"):
    """State of a comparison of means. `seen` and `sums` are [baseline,
    candidate] in the metric's own unit, for display.
    """

    alarm: Wager
    proof: Wager
    gain: Wager
    pairing: Pairing = msgspec.field(default_factory=Pairing)
    tallies: list[Tally] = msgspec.field(default_factory=lambda: [Tally(), Tally()])
    blocks: int = 0
    stream: Stream = msgspec.field(default_factory=Stream)
    seen: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    sums: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    cap: float | None = None
    largest: float = 0.0
    positives: int = 0
    spread: Spread | None = None


def open_means(guardrail: Guardrail, limit: float | None, alpha: float, proof_alpha: float) -> Means:
    """No evidence yet. `alpha` is the level of "worse", `proof_alpha` that of "kept" and "better"."""
    rule = rule_of(guardrail, limit)
    spread = Spread() if rule.scale is None and not rule.absolute else None
    return Means(
        open_wager(rule.alarm, alpha),
        open_wager(rule.proof, proof_alpha),
        open_wager(rule.proof, proof_alpha),
        cap=rule.scale,
        spread=spread,
    )


def add_value(state: Means, rule: Rule, candidate: bool, value: float) -> None:
    """Include one arm's value, in place. Values below 0 count as 0."""
    value = float(value) if value > 0.0 else 0.0
    if rule.threshold is not None:
        value = float(value < rule.threshold if rule.below else value > rule.threshold)
    state.seen[candidate] += 1
    state.sums[candidate] += value
    if state.spread is not None:
        add_spread(state.spread, candidate, value)
    if rule.absolute and not candidate:
        return
    if state.cap is None:
        _learn_cap(state, rule, value)
        return
    cap = state.cap
    plain = min(value, cap) / cap
    if rule.absolute:
        _judge_alone(state, rule, plain)
        return
    score = plain if candidate else min(rule.ratio * value, cap) / cap
    block = match(state.pairing, candidate, score, plain)
    if block is not None:
        _judge_block(state, rule, *block)


def _learn_cap(state: Means, rule: Rule, value: float) -> None:
    state.largest = max(state.largest, value)
    state.positives += value > 0.0
    tried = state.seen[0] + state.seen[1]
    if state.positives >= CAP_POSITIVES or (state.positives and tried >= CAP_TRIES):
        state.cap = max(CAP_FACTOR * state.largest, 2.0 * abs(rule.allowed)) * max(1.0, rule.ratio)


def _judge_block(state: Means, rule: Rule, baseline: Tally, candidate: Tally) -> None:
    """Bet on one block. Variances come from earlier blocks only, so that every stake was fixed before its outcome."""
    before, after = state.tallies
    variance = before.variance / baseline.count + after.variance / candidate.count
    mean = candidate.total / candidate.count
    plain = mean - baseline.plain / baseline.count
    allowed = rule.allowed / (state.cap or 1.0)
    harm = rule.sign * (mean - baseline.total / baseline.count) - allowed
    step = state.blocks
    bet(state.alarm, rule.alarm, harm, lowest=-1.0 - allowed, variance=variance, step=step)
    bet(state.proof, rule.proof, -harm, lowest=min(-1.0 + allowed, -0.01), variance=variance, step=step)
    bet(state.gain, rule.proof, -rule.sign * plain, lowest=-1.0, variance=variance, step=step)
    state.stream.add(plain / 2.0)
    before.merge(baseline)
    after.merge(candidate)
    state.blocks += 1


def _judge_alone(state: Means, rule: Rule, score: float) -> None:
    """Bet on one outcome of the candidate against the fixed bound."""
    tally = state.tallies[1]
    allowed = rule.allowed / (state.cap or 1.0)
    harm = rule.sign * score - allowed
    ends = (-allowed, rule.sign - allowed)
    variance = tally.variance
    bet(state.alarm, rule.alarm, harm, lowest=min(*ends, -0.01), variance=variance, step=state.blocks)
    bet(state.proof, rule.proof, -harm, lowest=min(-ends[0], -ends[1], -0.01), variance=variance, step=state.blocks)
    state.stream.add(score)
    tally.add(score, score)
    state.blocks += 1


def judge_means(state: Means, guardrail: Guardrail, limit: float | None, alpha: float, *, ready: bool) -> Verdict:
    """The verdict now; `ready` is false while the minimum evidence is lacking, which only "worse" may overrule."""
    rule = rule_of(guardrail, limit)
    broken, shown, gained = state.alarm.rejects, ready and state.proof.rejects, ready and state.gain.rejects
    word, kept = word_of(broken, shown, gained)
    evidence = state.alarm if broken else state.proof
    low, high = _interval(state, rule, alpha)
    if rule.plain and not rule.absolute:
        low, high = _cut(low, high, rule, broken=broken, shown=shown)
    name, value = guardrail.bound
    means = [s / n if n else None for s, n in zip(state.sums, state.seen, strict=True)]
    effect = means[1]
    if effect is not None:
        other = abs(rule.allowed) if rule.absolute else means[0]
        effect = None if other is None else effect - other
    return Verdict(
        metric=guardrail.metric,
        bound=name,
        limit=value,
        verdict=word,
        kept=kept,
        effect=effect,
        interval=(low, high),
        events=state.seen[1],
        baseline_events=state.seen[0],
        alpha=alpha,
        confidence=confidence(evidence.evidence, alpha),
        candidate=means[1],
        baseline=None if rule.absolute else means[0],
        quantile=guardrail.quantile,
        notes=_notes(state, rule),
    )


def confidence(evidence: float, alpha: float) -> float:
    """1 - 1 / e-value of a wager opened at level `alpha`, 0 at least."""
    return max(0.0, 1.0 - alpha * math.exp(min(-evidence, 700.0)))


def _interval(state: Means, rule: Rule, alpha: float) -> tuple[float | None, float | None]:
    cap = state.cap
    if cap is None or not state.stream.count:
        return None, None
    if rule.absolute:
        low, high = bounds(state.stream, 0.0, 1.0, alpha)
        return low * cap - abs(rule.allowed), high * cap - abs(rule.allowed)
    low, high = bounds(state.stream, -0.5, 0.5, alpha)
    return 2.0 * cap * low, 2.0 * cap * high


def _cut(
    low: float | None, high: float | None, rule: Rule, *, broken: bool, shown: bool
) -> tuple[float | None, float | None]:
    """Cut the interval at the margin when the sharper test at the margin has decided."""
    if low is None or high is None or not (broken or shown):
        return low, high
    margin = rule.sign * rule.allowed
    above = broken == (rule.sign > 0)  # the truth is above the margin
    return (max(low, margin), max(high, margin)) if above else (min(low, margin), min(high, margin))


def _notes(state: Means, rule: Rule) -> tuple[str, ...]:
    found = []
    if rule.scale is None:
        found.append(
            "learning the cap" if state.cap is None else f"values above {state.cap:.6g} count as {state.cap:.6g}"
        )
    if state.spread is not None and spread_changed(state.spread):
        found.append("spread changed")
    return tuple(found)
