"""A running mean and variance that forget, for judging the next value by those before it."""

from math import sqrt

import msgspec

HORIZON = 1_000
"""Observations that a baseline remembers: at one a minute most of a day, at one in five minutes half a week."""

WARM_UP = 50
"""Observations before which a deviation is not judged."""

CLIP = 50.0
"""No deviation counts for more standard deviations than this."""


class Moments(msgspec.Struct, array_like=True):
    """Mean and variance, exact over the first `horizon` observations and exponentially weighted from then on."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def deviation(self, value: float, floor: float) -> float:
        """How many standard deviations (of at least `floor`) the value lies from the mean of those added before."""
        if self.count < WARM_UP:
            return 0.0
        z = (value - self.mean) / max(sqrt(self.variance), floor)
        return max(-CLIP, min(CLIP, z))

    def add(self, value: float, horizon: int = HORIZON) -> None:
        """Count a value (West, "Updating mean and variance estimates", CACM 22(9), 1979)."""
        self.count += 1
        weight = 1.0 / min(self.count, horizon)
        step = value - self.mean
        self.mean += weight * step
        self.variance = (1.0 - weight) * (self.variance + weight * step * step)
