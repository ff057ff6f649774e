"""Recorded series: the newest points as they came, and sums by period for what is older."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import msgspec

from optimizer.core.history.periods import Period, coarser, period_of
from optimizer.model import MetricSample

SERIES = 2_000
POINTS = 500
"""Newest points of one series that are kept one by one (16 bytes each); before them there are sums."""

Tags = tuple[tuple[str, str], ...]


class Sums(msgspec.Struct, array_like=True):
    """The points of one period."""

    count: int = 0
    total: float = 0.0
    least: float = inf
    most: float = -inf

    def add(self, value: float) -> None:
        """Count one point."""
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def merge(self, other: "Sums") -> None:
        """Count everything that `other` counted."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)


@dataclass(slots=True)
class Series:
    """One name with one set of tags. `points` is in order of time; `older` holds what is no longer in it."""

    name: str
    tags: Tags
    unit: str | None = None
    count: int = 0
    points: list[tuple[int, float]] = field(default_factory=list)
    older: dict[Period, Sums] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The time of the newest point, 0 when there is none."""
        return self.points[-1][0] if self.points else 0

    def add(self, sample: MetricSample) -> None:
        """Take one point, late ones included."""
        point = (sample.timestamp, sample.value)
        self.count += 1
        self.unit = sample.unit if sample.unit is not None else self.unit
        points = self.points
        points.append(point)
        if len(points) > 1 and points[-2][0] > point[0]:
            points.sort(key=lambda each: each[0])
        while len(points) > POINTS:
            self._retire(*points.pop(0))

    def tidy(self) -> None:
        """Move old sums into longer periods, and drop what is too old."""
        for period in list(self.older):
            place = coarser(period, self.newest)
            if place == period:
                continue
            sums = self.older.pop(period)
            if place is not None:
                self.older.setdefault(place, Sums()).merge(sums)

    def _retire(self, moment: int, value: float) -> None:
        period = period_of(moment, self.newest)
        if period is not None:
            self.older.setdefault(period, Sums()).add(value)


class SeriesHistory:
    """Every series by name and tags; at most `SERIES`, points of further ones are counted in `refused`."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, Tags], Series] = {}
        self.refused = 0
        self.dirty: set[tuple[str, Tags]] = set()

    def add(self, sample: MetricSample) -> None:
        """Take one point."""
        key = (sample.name, tuple(sorted(sample.tags.items())))
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= SERIES:
                self.refused += 1
                return
            series = self.series[key] = Series(*key)
        series.add(sample)
        self.dirty.add(key)

    def select(self, name: str | None = None, tags: dict[str, str] | None = None) -> Iterator[Series]:
        """The series of that name (any when None) that carry all these tags, by name and tags."""
        wanted = (tags or {}).items()
        for (its_name, its_tags), series in sorted(self.series.items()):
            if (name is None or its_name == name) and wanted <= dict(its_tags).items():
                yield series

    def names(self) -> list[str]:
        """The names of all series."""
        return sorted({name for name, _ in self.series})
