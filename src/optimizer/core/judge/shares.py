"""Sample-ratio mismatch: whether the arms receive the shares that were decided, tested at every look.

Sequential test of counts against known shares with a conjugate prior concentrated at them (Lindon & Malek, "Anytime-
valid inference for multinomial count data", NeurIPS 2022): the Bayes factor against the null is a martingale. Each
stage has its own share and its own factor; the product is again one.
"""

import math

import msgspec

STRENGTH = 200.0  # prior counts: sensitive to deviations of a few points
LEVEL = 0.005  # a health check of its own, outside the level of the guardrails


class Shares(msgspec.Struct, array_like=True):
    """Counts of the current share, and the log Bayes factor of the earlier ones."""

    share: float = 0.0
    counts: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    earlier: float = 0.0


def count(state: Shares, share: float, baseline: int, candidate: int) -> None:
    """Include units assigned while the candidate's share was `share` (0..1), in place."""
    if share != state.share:
        state.earlier += factor(state.share, state.counts)
        state.share, state.counts = share, [0, 0]
    state.counts[0] += baseline
    state.counts[1] += candidate


def factor(share: float, counts: list[int]) -> float:
    """log Bayes factor of a Beta prior around `share` against exactly `share`;
    0 when the share admits one arm only.
    """
    if not 0.0 < share < 1.0:
        return 0.0
    a, b = STRENGTH * share, STRENGTH * (1.0 - share)
    n, k = sum(counts), counts[1]
    marginal = _log_beta(a + k, b + n - k) - _log_beta(a, b)
    return marginal - k * math.log(share) - (n - k) * math.log1p(-share)


def mismatch(state: Shares) -> bool:
    """Whether the counts contradict the shares at `LEVEL`."""
    return state.earlier + factor(state.share, state.counts) >= math.log(1.0 / LEVEL)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
