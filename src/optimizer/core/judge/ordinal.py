"""Comparisons without a scale: by order within pairs, and by quantiles of each arm."""

import msgspec

from optimizer.core.judge.contrast import confidence
from optimizer.core.judge.guardrail import Guardrail
from optimizer.core.judge.quantile import Cells, quantile_bounds, quantile_of
from optimizer.core.judge.spread import Spread, add_spread, spread_changed
from optimizer.core.judge.verdict import Verdict, word_of
from optimizer.core.judge.wager import STAKE_LIMIT, Plan, Wager, bet, open_wager

QUEUE = 64  # values of the arm ahead that wait for a partner; later ones are left out of the ordering test
FAST = Plan((0.72, 0.28), (5.0, 320.0))  # five clear pairs are enough at a level of 5 %, as for an exact rank test
BOLD = 0.97  # largest share of the wealth staked on one pair; a lost pair ends the fast component alone
CHECK_EVERY = 20  # outcomes between two readings of the quantiles


class Order(msgspec.Struct, array_like=True, tag="order"):
    """State of P(candidate larger) - P(candidate smaller), from pairs in order of arrival."""

    alarm: Wager
    proof: Wager
    gain: Wager
    waiting: list[float] = msgspec.field(default_factory=list)
    candidate_ahead: bool = False
    pairs: int = 0
    total: float = 0.0
    squares: float = 0.0
    seen: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    sums: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    first: float | None = None
    identical: bool = True
    spread: Spread = msgspec.field(default_factory=Spread)


def open_order(alpha: float, proof_alpha: float) -> Order:
    """No evidence yet."""
    return Order(open_wager(FAST, alpha), open_wager(FAST, proof_alpha), open_wager(FAST, proof_alpha))


def add_ordered(state: Order, allowed: float, candidate: bool, value: float) -> None:
    """Include one arm's value, in place."""
    state.seen[candidate] += 1
    state.sums[candidate] += value
    if state.first is None:
        state.first = value
    state.identical = state.identical and value == state.first
    add_spread(state.spread, candidate, value)
    if not state.waiting or state.candidate_ahead == candidate:
        state.candidate_ahead = candidate
        if len(state.waiting) < QUEUE:
            state.waiting.append(value)
        return
    other = state.waiting.pop(0)
    own, base = (value, other) if candidate else (other, value)
    sign = float((own > base) - (own < base))
    fade = 1.0 / (1.0 + state.pairs / 4.0) ** 2
    variance = fade + (state.squares / state.pairs if state.pairs else 0.0)
    harm, step = sign - allowed, state.pairs
    bold = BOLD / STAKE_LIMIT
    bet(state.alarm, FAST, harm, lowest=-(1.0 + allowed) / bold, variance=variance, step=step)
    bet(state.proof, FAST, -harm, lowest=-(1.0 - allowed) / bold, variance=variance, step=step)
    bet(state.gain, FAST, -sign, lowest=-1.0 / bold, variance=variance, step=step)
    state.pairs += 1
    state.total += sign
    state.squares += sign * sign


def judge_order(state: Order, guardrail: Guardrail, alpha: float, *, ready: bool) -> Verdict:
    """The verdict now.
    Arms that showed one and the same value all along are called equivalent once there is enough of it.
    """
    same = ready and state.identical and state.pairs > 0
    broken = state.alarm.rejects
    word, kept = word_of(broken, ready and (state.proof.rejects or same), ready and state.gain.rejects)
    notes = (*(("spread changed",) if spread_changed(state.spread) else ()), *(("identical values",) if same else ()))
    means = [s / n if n else None for s, n in zip(state.sums, state.seen, strict=True)]
    return Verdict(
        metric=guardrail.metric,
        bound="max_shift",
        limit=guardrail.max_shift or 0.0,
        verdict=word,
        kept=kept,
        effect=state.total / state.pairs if state.pairs else None,
        interval=(None, None),
        events=state.seen[1],
        baseline_events=state.seen[0],
        alpha=alpha,
        confidence=confidence((state.alarm if broken else state.proof).evidence, alpha),
        candidate=means[1],
        baseline=means[0],
        notes=notes,
    )


class Quantiles(msgspec.Struct, array_like=True, tag="quantiles"):
    """State of a comparison of one quantile of the arms; `answer` is the last reading (0 unknown,
    1 kept, 2 broken, 3 better).
    """

    alpha: float
    arms: list[Cells] = msgspec.field(default_factory=lambda: [Cells(), Cells()])
    answer: int = 0


def add_quantile(state: Quantiles, guardrail: Guardrail, candidate: bool, value: float) -> None:
    """Include one arm's value, in place; every `CHECK_EVERY` outcomes the bounds are read."""
    state.arms[candidate].add(value)
    if (state.arms[0].count + state.arms[1].count) % CHECK_EVERY == 0:
        state.answer = _read(state, guardrail)


def _read(state: Quantiles, guardrail: Guardrail) -> int:
    p, allowed = guardrail.quantile or 0.5, guardrail.max_increase_ratio or 1.0
    base_low, base_high = quantile_bounds(state.arms[0], p, state.alpha / 2.0)
    low, high = quantile_bounds(state.arms[1], p, state.alpha / 2.0)
    if low > allowed * base_high:
        return 2
    if high < base_low:
        return 3
    return 1 if high < allowed * base_low else 0


def judge_quantiles(state: Quantiles, guardrail: Guardrail, *, ready: bool) -> Verdict:
    """The verdict at the last reading, with the ratio of the quantiles as effect."""
    p = guardrail.quantile or 0.5
    base_low, base_high = quantile_bounds(state.arms[0], p, state.alpha / 2.0)
    low, high = quantile_bounds(state.arms[1], p, state.alpha / 2.0)
    base, own = quantile_of(state.arms[0], p), quantile_of(state.arms[1], p)
    word, kept = word_of(state.answer == 2, ready and state.answer in (1, 3), ready and state.answer == 3)
    return Verdict(
        metric=guardrail.metric,
        bound="max_increase_ratio",
        limit=guardrail.max_increase_ratio or 1.0,
        verdict=word,
        kept=kept,
        effect=own / base if own is not None and base else None,
        interval=(
            low / base_high if base_high > 0.0 else None,
            high / base_low if base_low > 0.0 and high < 1e300 else None,
        ),
        events=state.arms[1].count,
        baseline_events=state.arms[0].count,
        alpha=state.alpha,
        confidence=1.0 - state.alpha if kept is not None else 0.0,
        candidate=own,
        baseline=base,
        quantile=p,
    )
