"""Drift of one numeric metric of one stream, whatever its distribution."""

from bisect import bisect_left, bisect_right

import msgspec

from optimizer.core.drift.scan import ChangeScan, Shift
from optimizer.core.drift.values import DriftSettings

REFERENCE = 200
"""Values that an unbounded metric is ranked against; 200 place a value within 2.5 % of its true rank on average."""


class ShareDetector(msgspec.Struct, array_like=True):
    """Watches a metric that lies between 0 and 1: a quality, or an error as 1."""

    scan: ChangeScan
    minimum: float

    @classmethod
    def watching(cls, settings: DriftSettings, harmful: int) -> "ShareDetector":
        """A new detector; `harmful` is -1 when lower is worse and 1 when higher is."""
        down, up = settings.limits(harmful)
        return cls(ChangeScan(down, up), settings.minimum_drop)

    def add(self, value: float, time: int) -> Shift | None:
        """Count one value; a shift that is certain and large enough is reported once and becomes the new normal."""
        shift = self.scan.add(value, value, time)
        if shift is None or abs(shift.mean_after - shift.mean_before) < self.minimum:
            return None
        self.scan.rearm(shift)
        return shift


class RankDetector(msgspec.Struct, array_like=True):
    """Watches an unbounded metric: latency, cost, tokens.

    Each value is replaced by its rank among the first `REFERENCE` values, so that no tail, unit, lump of zeros or
    outlier matters (a Wilcoxon-type test: 95 % of the t-test's power on normal values, more on heavier tails). The
    shift's `raw_before` and `raw_after` are means in the metric's own unit.
    """

    down: float
    up: float
    minimum: float
    waiting: list[tuple[float, int]] = []
    reference: list[float] = []
    scan: ChangeScan | None = None

    @classmethod
    def watching(cls, settings: DriftSettings, harmful: int | None) -> "RankDetector":
        """A new detector; `harmful` is -1 when lower is worse, 1 when higher is, None when both are."""
        down, up = settings.limits(harmful)
        return cls(down, up, settings.minimum_ratio)

    def add(self, value: float, time: int) -> Shift | None:
        """Count one value; a shift is reported once, then the detector learns its new reference."""
        if self.scan is None:
            self.waiting.append((value, time))
            if len(self.waiting) == REFERENCE:
                self._begin()
            return None
        shift = self.scan.add(self._rank(value), value, time)
        if shift is None or not self._matters(shift):
            return None
        self.waiting, self.reference, self.scan = [], [], None
        return shift

    def _begin(self) -> None:
        self.reference = sorted(value for value, _ in self.waiting)
        # The first half is the least baseline that is compared with: ranks of the reference itself vary less.
        self.scan = ChangeScan(self.down, self.up, minimum_before=REFERENCE // 2)
        for value, time in self.waiting:
            self.scan.add(self._rank(value), value, time)
        self.waiting = []

    def _rank(self, value: float) -> float:
        reference = self.reference
        return (bisect_left(reference, value) + bisect_right(reference, value)) / (2 * len(reference))

    def _matters(self, shift: Shift) -> bool:
        before = abs(shift.raw_before)
        return abs(shift.raw_after - shift.raw_before) >= self.minimum * before
