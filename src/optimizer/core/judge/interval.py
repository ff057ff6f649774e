"""A confidence sequence for the mean of bounded blocks, kept as three numbers and inverted when it is read.

Empirical-Bernstein: exp(l * sum(y - mean) - psi(l) * sum((y - prediction)^2)) with psi(l) = -log(1 - l) - l is a
supermartingale for y and predictions whose difference is at least -1 (Fan, Grama & Liu 2015; Howard, Ramdas,
McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021, theorem 4). A mixture
over l keeps it sharp at every sample size.
"""

import math

import msgspec

RATES = (0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512)
COSTS = tuple(-math.log1p(-rate) - rate for rate in RATES)
STEPS = 40  # bisection steps: far below the width of any sequence


class Stream(msgspec.Struct, array_like=True):
    """Count, sum, and sum of squared errors of the running-mean prediction, of values in an interval of length 1."""

    count: int = 0
    total: float = 0.0
    errors: float = 0.0

    def add(self, value: float) -> None:
        """Include a value; the prediction is the mean of the earlier ones (and of one 0 or 1/2,
        its place at the start).
        """
        error = value - self.total / (self.count + 1)
        self.errors += error * error
        self.count += 1
        self.total += value


def evidence(total: float, count: int, errors: float, mean: float) -> float:
    """log of the mixture against "the true mean is at most `mean`"."""
    gap = total - count * mean
    logs = [rate * gap - cost * errors for rate, cost in zip(RATES, COSTS, strict=True)]
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs) / len(RATES))


def lower_bound(total: float, count: int, errors: float, least: float, level: float) -> float:
    """A lower confidence bound for the mean that holds at all times together with probability 1 - level."""
    if not count:
        return least
    need = math.log(1.0 / level)
    low, high = least, total / count
    if evidence(total, count, errors, low) < need:
        return least
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        if evidence(total, count, errors, middle) >= need:
            low = middle
        else:
            high = middle
    return low


def bounds(stream: Stream, least: float, most: float, alpha: float) -> tuple[float, float]:
    """The two-sided confidence sequence at level alpha; [least, most] before any value."""
    low = lower_bound(stream.total, stream.count, stream.errors, least, alpha / 2.0)
    high = -lower_bound(-stream.total, stream.count, stream.errors, -most, alpha / 2.0)
    return low, max(high, low)
