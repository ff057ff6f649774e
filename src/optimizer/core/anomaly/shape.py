"""How unlike everything before the latest stretch of a series is, in shape and level."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

WIDTH = 24
"""Points in a stretch: two hours of a series of one in five minutes, a day of an hourly one."""

HISTORY = 1_000
"""Earlier stretches that the latest is compared with."""

NEIGHBOURS = 6
"""The distance is the root mean square one to so many nearest; one alone could be an earlier anomaly."""

LEAST = 50
"""Earlier stretches before which nothing is said."""

_KEEP = HISTORY + 2 * WIDTH
_ROOM = _KEEP + 256  # the buffer is moved once every 256 points


class ShapeNovelty:
    """Distance of the latest `WIDTH` values to their nearest neighbours among the earlier stretches.

    The idea is that of KNN-CAD (Burnaev and Ishimtsev, "Conformalized density- and distance-based anomaly detection in
    time-series data", arXiv 1608.04585) with plain Euclidean distances. A regular series of any period has near
    neighbours one period ago, so no period has to be known. Stretches that overlap the latest are not compared.
    """

    __slots__ = ("_norms", "_used", "_values", "anchor")

    def __init__(self) -> None:
        self.anchor = 0.0
        self._used = 0
        self._values: NDArray[np.float64] = np.zeros(_ROOM)
        self._norms: NDArray[np.float64] = np.zeros(_ROOM)

    def add(self, value: float) -> float | None:
        """Count a value; the distance of the stretch that it ends, None while there is too little to compare with."""
        if self._used == 0:
            self.anchor = value
        elif self._used == _ROOM:
            self._move()
        self._values[self._used] = value - self.anchor
        self._used += 1
        start = self._used - WIDTH
        if start < 0:
            return None
        latest = self._values[start : self._used]
        norm = self._norms[start] = float(latest @ latest)
        end = start - WIDTH + 1
        first = max(0, end - HISTORY)
        if end - first < LEAST:
            return None
        # |a - b|^2 = |a|^2 + |b|^2 - 2ab for all stretches at once; values are kept near 0 so that little cancels.
        distances = self._norms[first:end] - 2.0 * np.correlate(self._values[first : end + WIDTH - 1], latest)
        distances.partition(NEIGHBOURS - 1)
        nearest = float(distances[:NEIGHBOURS].mean()) + norm
        return sqrt(nearest) if nearest > 0.0 else 0.0

    def state(self) -> tuple[float, bytes]:
        """The anchor and the kept values, as little-endian doubles."""
        return self.anchor, self._values[: self._used].astype("<f8").tobytes()

    @classmethod
    def restore(cls, state: tuple[float, bytes]) -> "ShapeNovelty":
        """The object whose `state()` this is."""
        shape = cls()
        shape.anchor, raw = state
        values = np.frombuffer(raw, dtype="<f8")
        shape._used = len(values)
        shape._values[: shape._used] = values
        shape._measure()
        return shape

    def _move(self) -> None:
        """Keep the newest values and centre them anew."""
        kept = self._values[_ROOM - _KEEP :].copy()
        middle = float(kept.mean())
        self._values[:_KEEP] = kept - middle
        self.anchor += middle
        self._used = _KEEP
        self._measure()

    def _measure(self) -> None:
        """Compute every stretch's squared norm."""
        for start in range(self._used - WIDTH + 1):
            stretch = self._values[start : start + WIDTH]
            self._norms[start] = float(stretch @ stretch)
