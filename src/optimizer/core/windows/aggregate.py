"""What is kept of the values in a window: enough for count, sum, mean, variance, extremes, rate and quantiles."""

from collections.abc import Mapping
from math import inf, isfinite, sqrt

import msgspec

from optimizer.core.sketch import QuantileSketch, SketchState

AggregateState = tuple[int, float, float, float, float, float, SketchState, SketchState | None]
"""(count, sum, mean, squared deviations, minimum, maximum, sketch, sketch of negative values)."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one metric in one window; None where too few values make the number unknown.

    `variance` is the sample variance (n - 1). Quantiles are within 1 % of a value in the window.
    """

    count: int
    total: float
    mean: float
    variance: float | None
    minimum: float
    maximum: float
    p50: float
    p95: float
    p99: float

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation."""
        return None if self.variance is None else sqrt(self.variance)


class Aggregate:
    """A mergeable summary of numbers; merging parts gives what one pass over all would have (up to rounding)."""

    __slots__ = ("_spread", "_total", "count", "maximum", "mean", "minimum", "negative", "positive")

    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0
        self.mean = 0.0
        self._spread = 0.0
        self.minimum = inf
        self.maximum = -inf
        self.positive = QuantileSketch()
        self.negative: QuantileSketch | None = None

    def add(self, value: float) -> None:
        """Count one finite value (Welford's update). ValueError for others."""
        if value >= 0.0:
            self.positive.add(value)
        else:
            if not isfinite(value):
                raise ValueError(f"only finite values can be aggregated, not {value!r}")
            if self.negative is None:
                self.negative = QuantileSketch()
            self.negative.add(-value)
        self.count += 1
        self._total += value
        step = value - self.mean
        self.mean += step / self.count
        self._spread += step * (value - self.mean)
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def merge(self, other: "Aggregate") -> None:
        """Add everything that `other` counted (Chan, Golub, LeVeque, 1979)."""
        if other.count == 0:
            return
        (count, total, mean, spread, *_) = other.state()
        step, together = mean - self.mean, self.count + count
        self._spread += spread + step * step * self.count * count / together
        self.mean += step * count / together
        self._total += total
        self.count = together
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.positive.merge(other.positive)
        if other.negative is not None:
            if self.negative is None:
                self.negative = QuantileSketch()
            self.negative.merge(other.negative)

    def quantile(self, q: float) -> float | None:
        """The value at rank floor(q * (count - 1)), within 1 %; None when nothing was counted."""
        return self.quantiles((q,))[0]

    def quantiles(self, qs: tuple[float, ...]) -> tuple[float | None, ...]:
        """The values at several quantiles."""
        if self.negative is None:
            return self.positive.quantiles(qs)
        below, above = self.negative.count, self.positive.count
        found = []
        for q in qs:
            rank = int(q * (self.count - 1))
            if rank < below:
                value = self.negative.quantile(_share(below - 1 - rank, below))
                found.append(None if value is None else -value)
            else:
                found.append(self.positive.quantile(_share(rank - below, above)))
        return tuple(found)

    def summary(self) -> Summary | None:
        """The numbers; None when nothing was counted."""
        if self.count == 0:
            return None
        p50, p95, p99 = (0.0 if value is None else value for value in self.quantiles((0.5, 0.95, 0.99)))
        return Summary(
            count=self.count,
            total=self._total,
            mean=self.mean,
            variance=self._spread / (self.count - 1) if self.count > 1 else None,
            minimum=self.minimum,
            maximum=self.maximum,
            p50=p50,
            p95=p95,
            p99=p99,
        )

    def state(self) -> AggregateState:
        """Everything, as plain values."""
        negative = None if self.negative is None else self.negative.state()
        return (
            self.count,
            self._total,
            self.mean,
            self._spread,
            self.minimum,
            self.maximum,
            self.positive.state(),
            negative,
        )

    @classmethod
    def restore(cls, state: AggregateState) -> "Aggregate":
        """The aggregate whose `state()` this is."""
        made = cls()
        made.count, made._total, made.mean, made._spread, made.minimum, made.maximum, positive, negative = state
        made.positive = QuantileSketch.restore(positive)
        made.negative = None if negative is None else QuantileSketch.restore(negative)
        return made


class Tally:
    """The events of one window or slice of it: how many, and an aggregate for each metric that they reported."""

    __slots__ = ("events", "metrics")

    def __init__(self) -> None:
        self.events = 0
        self.metrics: dict[str, Aggregate] = {}

    def add(self, values: Mapping[str, float | None]) -> None:
        """Count one event, whole or (ValueError for a value that is not finite) not at all. None is unknown."""
        for name, value in values.items():
            if value is not None and not isfinite(value):
                raise ValueError(f"{name}: only finite values can be aggregated, not {value!r}")
        self.events += 1
        for name, value in values.items():
            if value is not None:
                found = self.metrics.get(name)
                if found is None:
                    found = self.metrics[name] = Aggregate()
                found.add(value)

    def merge(self, other: "Tally") -> None:
        """Add another tally's events."""
        self.events += other.events
        for name, aggregate in other.metrics.items():
            found = self.metrics.get(name)
            if found is None:
                found = self.metrics[name] = Aggregate()
            found.merge(aggregate)

    def summaries(self) -> dict[str, Summary]:
        """The numbers of each metric."""
        return {name: made for name, aggregate in self.metrics.items() if (made := aggregate.summary()) is not None}

    def state(self) -> tuple[int, dict[str, AggregateState]]:
        """Everything, as plain values."""
        return self.events, {name: aggregate.state() for name, aggregate in self.metrics.items()}

    @classmethod
    def restore(cls, state: tuple[int, dict[str, AggregateState]]) -> "Tally":
        """The tally whose `state()` this is."""
        made = cls()
        made.events = state[0]
        made.metrics = {name: Aggregate.restore(aggregate) for name, aggregate in state[1].items()}
        return made


def _share(rank: int, count: int) -> float:
    """The quantile whose rank is exactly `rank` of `count` values."""
    return 0.0 if count <= 1 else min(1.0, (rank + 0.5) / (count - 1))
