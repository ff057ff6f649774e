"""Quantiles of a stream in bounded memory, with a stated relative error, mergeable and order-independent.

The method is DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019, section 2) with the lowest buckets collapsing. The `ddsketch` library is as accurate, but its
encoding drops minimum, maximum and the collapsing store, its bin layout depends on the order of arrival (so equal
content does not mean equal bytes), and it counts NaN as zero. Here the state is a function of the multiset of values
alone, so a replay, a restore and a merge give the same bytes. Measured on one core of this project's machine: 0.3 to
0.6 microseconds for one `add`, the library's 0.5 to 0.6.
"""

from collections.abc import Iterable, Sequence
from math import inf, log
from typing import Final

RELATIVE_ERROR: Final = 0.01
SMALLEST: Final = 1e-12
"""Values below this count as zero: no metric here resolves a millionth of a microsecond or of a micro-dollar."""

MAX_BUCKETS: Final = 2048
"""Covers a factor of 6e17 between the largest and the smallest value kept apart; what is lower shares one bucket."""

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SCALE: Final = 1 / log(_GAMMA)
_SHIFT: Final = 2000  # makes every bucket number positive, so that int() rounds down
_MIDDLE: Final = 2 * _GAMMA / (1 + _GAMMA)

SketchState = tuple[int, float | None, float | None, tuple[tuple[int, int], ...]]
"""(zeros, minimum, maximum, ((bucket, count), ...) by bucket): plain values that msgspec encodes."""


class QuantileSketch:
    """Counts non-negative values in buckets whose width grows with the value.

    `quantile(q)` is within 1 % (`RELATIVE_ERROR`) of the value at rank floor(q * (count - 1)) of the sorted stream, for
    every value not in the collapsed lowest bucket (more than 6e17 times smaller than the largest). Zero, minimum and
    maximum are exact. Adding costs O(1), memory is at most `MAX_BUCKETS` pairs.
    """

    __slots__ = ("_floor", "buckets", "ceiling", "count", "maximum", "minimum", "zeros")

    def __init__(self) -> None:
        self.count = 0
        self.zeros = 0
        self.minimum = inf
        self.maximum = -inf
        self.buckets: dict[int, int] = {}
        self._floor = -1  # values of lower buckets are counted in this one
        self.ceiling = -1  # the highest bucket so far

    def add(self, value: float, times: int = 1) -> None:
        """Count `value` `times` times. ValueError for a negative, infinite or not-a-number value."""
        if not 0.0 <= value < inf:
            raise ValueError(f"a sketch takes finite values of at least 0, not {value!r}")
        if value < SMALLEST:
            self.zeros += times
        else:
            key = int(log(value) * _SCALE + _SHIFT)
            if key > self.ceiling:
                self._raise_ceiling(key)
            elif key < self._floor:
                key = self._floor
            buckets = self.buckets
            buckets[key] = buckets.get(key, 0) + times
        self.count += times
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def merge(self, other: "QuantileSketch") -> None:
        """Add everything that `other` counted; the result equals that of one sketch over both streams."""
        if other.ceiling > self.ceiling:
            self._raise_ceiling(other.ceiling)
        buckets, floor = self.buckets, self._floor
        for key, times in other.buckets.items():
            kept = max(key, floor)
            buckets[kept] = buckets.get(kept, 0) + times
        self.count += other.count
        self.zeros += other.zeros
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, q: float) -> float | None:
        """The value at quantile `q` (0..1); None when nothing was counted."""
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Sequence[float]) -> tuple[float | None, ...]:
        """The values at several quantiles, in the order asked, in one pass."""
        if any(not 0.0 <= q <= 1.0 for q in qs):
            raise ValueError(f"quantiles lie between 0 and 1, not {tuple(qs)!r}")
        if self.count == 0:
            return (None,) * len(qs)
        found: list[float | None] = [None] * len(qs)
        keys = iter(sorted(self.buckets))
        below, value = self.zeros, 0.0
        for i in sorted(range(len(qs)), key=lambda i: qs[i]):
            rank = int(qs[i] * (self.count - 1))
            while below <= rank:
                key = next(keys)
                below += self.buckets[key]
                value = _value(key)
            found[i] = min(max(value, self.minimum), self.maximum)
        return tuple(found)

    def share_above(self, limit: float) -> float | None:
        """The share of values above `limit` (values within 1 % of it may fall on either side); None when empty."""
        if self.count == 0:
            return None
        if limit < 0.0 or limit < self.minimum:
            return 1.0
        if limit >= self.maximum:
            return 0.0
        key = int(log(limit) * _SCALE + _SHIFT) if limit >= SMALLEST else -1
        above = sum(times for bucket, times in self.buckets.items() if bucket > key)
        return above / self.count

    def state(self) -> SketchState:
        """Everything, as plain values; equal multisets of values give equal states."""
        if self.count == 0:
            return (0, None, None, ())
        return (self.zeros, self.minimum, self.maximum, tuple(sorted(self.buckets.items())))

    @classmethod
    def restore(cls, state: SketchState) -> "QuantileSketch":
        """The sketch whose `state()` this is."""
        zeros, minimum, maximum, pairs = state
        sketch = cls()
        sketch.zeros = zeros
        sketch.buckets = dict(pairs)
        sketch.count = zeros + sum(times for _, times in pairs)
        sketch.minimum = inf if minimum is None else minimum
        sketch.maximum = -inf if maximum is None else maximum
        if pairs:
            sketch.ceiling = pairs[-1][0]
            sketch._floor = sketch.ceiling - MAX_BUCKETS + 1
        return sketch

    @classmethod
    def of(cls, values: Iterable[float]) -> "QuantileSketch":
        """A sketch of the given values."""
        sketch = cls()
        for value in values:
            sketch.add(value)
        return sketch

    def _raise_ceiling(self, key: int) -> None:
        """Move the range of kept buckets up to `key` and collapse what is now too low into the lowest one."""
        self.ceiling = key
        self._floor = floor = key - MAX_BUCKETS + 1
        buckets = self.buckets
        low = [bucket for bucket in buckets if bucket < floor] if floor > 0 else []
        if low:
            buckets[floor] = buckets.get(floor, 0) + sum(buckets.pop(bucket) for bucket in low)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantileSketch) and self.state() == other.state()

    def __repr__(self) -> str:
        return f"QuantileSketch(count={self.count}, median={self.quantile(0.5)}, p99={self.quantile(0.99)})"


def _value(key: int) -> float:
    """The value that is within the relative error of everything in the bucket."""
    return float(_MIDDLE * _GAMMA ** (key - _SHIFT))
