"""Confidence sequences for a quantile of each arm, from counts in logarithmic cells.

Howard & Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification"
(Bernoulli 2022), theorem 1: with l(t) = (1.4 log log(2.1 t) + log(10 / alpha)) / t and
f = 1.5 sqrt(p (1 - p) l) + 0.8 l, the empirical quantiles at p - f and p + f enclose the true one at all times
together with probability 1 - alpha, for any distribution. Cells are 2 % wide; the bounds take their outer edges, so
the cells cost width, never validity.
"""

import math

import msgspec

CELL = math.log(1.02)
LARGEST_CELL = 2500  # 1.02 ** 2500 is about 3e21: with both signs of the exponent at most 5,001 cells


class Cells(msgspec.Struct, array_like=True):
    """Counts of values by logarithmic cell; values at or below 0 are counted apart."""

    count: int = 0
    zeros: int = 0
    cells: dict[int, int] = msgspec.field(default_factory=dict)

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        if value <= 0.0:
            self.zeros += 1
            return
        cell = max(-LARGEST_CELL, min(LARGEST_CELL, math.floor(math.log(value) / CELL)))
        self.cells[cell] = self.cells.get(cell, 0) + 1


def at_rank(cells: Cells, rank: float) -> tuple[float, float]:
    """Lower and upper edge of the cell that holds the rank-th smallest value (1 = the smallest)."""
    if rank <= cells.zeros:
        return 0.0, 0.0
    seen = cells.zeros
    cell = 0
    for cell in sorted(cells.cells):
        seen += cells.cells[cell]
        if seen >= rank:
            break
    return math.exp(cell * CELL), math.exp((cell + 1) * CELL)


def radius(count: int, p: float, alpha: float) -> float:
    """How far from p the empirical distribution at the p-quantile can be, at all times together."""
    rate = (1.4 * math.log(math.log(2.1 * count)) + math.log(10.0 / alpha)) / count if count > 1 else 10.0
    return 1.5 * math.sqrt(p * (1.0 - p) * rate) + 0.8 * rate


def quantile_bounds(cells: Cells, p: float, alpha: float) -> tuple[float, float]:
    """The confidence sequence for the p-quantile: [0, inf] while it says nothing."""
    if not cells.count:
        return 0.0, math.inf
    r = radius(cells.count, p, alpha)
    low = at_rank(cells, max(1, math.floor((p - r) * cells.count)))[0] if p - r > 0.0 else 0.0
    above = math.floor((p + r) * cells.count) + 1
    high = at_rank(cells, above)[1] if above <= cells.count else math.inf
    return low, high


def quantile_of(cells: Cells, p: float) -> float | None:
    """The empirical p-quantile to 1 %, None when there is no value."""
    if not cells.count:
        return None
    low, high = at_rank(cells, max(1, math.ceil(p * cells.count)))
    return math.sqrt(low * high)
