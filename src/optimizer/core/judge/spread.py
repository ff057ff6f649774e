"""Whether the arms differ in spread:
which arm's values are farther from the median of earlier values, and by how much.
"""

import msgspec

from optimizer.core.judge.wager import Plan, Wager, bet, open_wager

LEVEL = 0.05  # a note, not a verdict: a level of its own, half for each direction
MEMORY = 21  # earlier values whose median is the centre
LOWEST = -0.93  # stakes up to 0.97 of the wealth: small samples have to be able to tell
PLAN = Plan((0.8, 0.2), (15.0, 300.0))


class Spread(msgspec.Struct, array_like=True):
    """Values of the arm ahead that wait for a partner, recent values, and a wager for each direction."""

    waiting: list[float] = msgspec.field(default_factory=list)
    candidate_ahead: bool = False
    recent: list[float] = msgspec.field(default_factory=list)
    wider: Wager = msgspec.field(default_factory=lambda: open_wager(PLAN, LEVEL / 2.0))
    narrower: Wager = msgspec.field(default_factory=lambda: open_wager(PLAN, LEVEL / 2.0))
    squares: float = 0.0
    pairs: int = 0


def add_spread(state: Spread, candidate: bool, value: float) -> None:
    """Include one value, in place.

    The difference of the distances from the centre, cut at twice the usual distance, is symmetric around 0 when the
    arms are distributed alike.
    """
    if not state.waiting or state.candidate_ahead == candidate:
        state.candidate_ahead = candidate
        if len(state.waiting) < MEMORY:
            state.waiting.append(value)
        return
    other = state.waiting.pop(0)
    own, base = (value, other) if candidate else (other, value)
    if state.recent:
        centre = sorted(state.recent)[len(state.recent) // 2]
        usual = sum(abs(x - centre) for x in state.recent) / len(state.recent)
        gap = abs(own - centre) - abs(base - centre)
        reach = 2.0 * usual if usual > 0.0 else abs(gap) or 1.0
        sign = max(-1.0, min(1.0, gap / reach))
        variance = 1.0 / (1.0 + state.pairs) + state.squares / (1.0 + state.pairs)
        bet(state.wider, PLAN, sign, lowest=LOWEST, variance=variance, step=state.pairs)
        bet(state.narrower, PLAN, -sign, lowest=LOWEST, variance=variance, step=state.pairs)
        state.squares += sign * sign
        state.pairs += 1
    state.recent = [*state.recent, own, base][-MEMORY:]


def spread_changed(state: Spread) -> bool:
    """Whether either direction is shown."""
    return state.wider.rejects or state.narrower.rejects
