"""Whether a series of values rises or falls, distribution-free."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Literal

FEWEST = 4
MOST = 200
"""Values that are looked at (the newest): the test compares all pairs."""


@dataclass(frozen=True, slots=True)
class Trend:
    """`change_pct` is the robust line's change over the whole series; `confidence` one minus the two-sided p-value."""

    direction: Literal["up", "down", "flat"]
    change_pct: float
    confidence: float


def trend(values: Sequence[float]) -> Trend | None:
    """The trend of values at equal distances; None with fewer than `FEWEST` of them.

    Mann-Kendall test with its correction for ties (Mann 1945; Kendall 1975, section 4) and Theil-Sen slope (Sen 1968).
    The direction is "flat" below 95 % confidence.
    """
    values = values[-MOST:]
    n = len(values)
    if n < FEWEST:
        return None
    pairs = list(combinations(range(n), 2))
    s = sum((values[j] > values[i]) - (values[j] < values[i]) for i, j in pairs)
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    z = 0.0 if s == 0 or variance <= 0 else (s - math.copysign(1, s)) / math.sqrt(variance)
    confidence = 1 - math.erfc(abs(z) / math.sqrt(2))
    slope = median((values[j] - values[i]) / (j - i) for i, j in pairs)
    start = median(value - slope * i for i, value in enumerate(values))
    change = 100 * slope * (n - 1) / abs(start) if start else 0.0
    if confidence < 0.95 or slope == 0:
        return Trend("flat", change, confidence)
    return Trend("up" if slope > 0 else "down", change, confidence)
