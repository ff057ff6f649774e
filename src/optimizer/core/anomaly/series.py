"""One series: is its latest value, spread or shape unlike what it used to be?"""

from math import log, sqrt
from typing import Literal

import msgspec

from optimizer.core.anomaly.moments import Moments
from optimizer.core.anomaly.season import Season
from optimizer.core.anomaly.shape import ShapeNovelty

Signal = Literal["level", "spread", "flat", "shape"]

LEVEL, SPREAD = 5, 20
"""Points that the level and the spread are taken over."""

LIMITS: dict[Signal, float] = {"level": 5.0, "spread": 4.5, "flat": 4.5, "shape": 3.5}
"""Standard deviations of each signal that make a score of 1."""

LEARNING = 150
"""Points before which nothing is reported."""

QUIET = 100
"""Points after an alert in which no other is raised: one episode, one alert."""

CALM = 20
"""Points in a row below half the limit that end an episode."""

BLOCK, BLOCKS, FEWEST = 100, 30, 5
"""The series' own habit: the highest score in each block of points, of so many blocks, judged from so many on."""


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """An anomaly begins (`score` >= 1, in units of the limit then in force) or the series is normal again."""

    kind: Literal["anomaly", "recovered"]
    signal: Signal
    score: float
    observed: float
    expected: float
    deviations: float


class SeriesState(msgspec.Struct, array_like=True):
    """Everything a `SeriesDetector` knows, as plain values."""

    count: int = 0
    recent: list[float] = []
    values: Moments = msgspec.field(default_factory=Moments)
    level: Moments = msgspec.field(default_factory=Moments)
    spread: Moments = msgspec.field(default_factory=Moments)
    flat: Moments = msgspec.field(default_factory=Moments)
    shape: Moments = msgspec.field(default_factory=Moments)
    season: Season = msgspec.field(default_factory=Season.new)
    history: tuple[float, bytes] = (0.0, b"")
    peak: float = 0.0
    peaks: list[float] = []
    limit: float = 1.0
    quiet_until: int = 0
    calm: int = 0
    firing: Signal | None = None


class SeriesDetector:
    """Judges each value of one series by those before it, then learns it.

    Four signals are followed: the mean of the last 5 values, the spread of the last 20 and how close that is to none
    (the logarithm of the spread), all after removing what the time of day or week explains, and the distance of the
    last 24 to the most alike earlier stretches. Each is measured in standard deviations of its own past. The limit
    rises where a series' own past is full of extremes.
    """

    __slots__ = ("_shape", "_state")

    def __init__(self, state: SeriesState | None = None) -> None:
        self._state = SeriesState() if state is None else state
        self._shape = ShapeNovelty.restore(self._state.history)

    def state(self) -> SeriesState:
        """The whole state; the detector made from it goes on exactly as this one."""
        self._state.history = self._shape.state()
        return self._state

    @property
    def count(self) -> int:
        """How many values were judged."""
        return self._state.count

    def add(self, value: float, seconds: int) -> Finding | None:
        """Judge a finite value measured at `seconds` since 1970, then learn it."""
        s = self._state
        s.count += 1
        rest = value - s.season.shift(value, seconds)
        s.values.add(value)
        floor = 1e-5 * sqrt(s.values.variance) + 1e-9 * abs(s.values.mean) + 1e-300
        recent = s.recent
        recent.append(rest)
        if len(recent) > SPREAD:
            del recent[0]
        mean = sum(recent[-LEVEL:]) / min(len(recent), LEVEL)
        centre = sum(recent) / len(recent)
        spread = sqrt(sum([(x - centre) ** 2 for x in recent]) / len(recent))
        distance = self._shape.add(value)

        flat = _judge("flat", s.flat, -log(spread + floor), 1e-3)
        flat = msgspec.structs.replace(flat, observed=spread, expected=s.spread.mean)
        findings = [_judge("level", s.level, mean, floor), _judge("spread", s.spread, spread, floor), flat]
        if distance is not None:
            findings.append(_judge("shape", s.shape, distance, floor))
        return self._decide(findings)

    def _decide(self, findings: list[Finding]) -> Finding | None:
        """Raise, hold down or end an episode."""
        s = self._state
        top = max([finding.score for finding in findings])
        if s.count > 2 * BLOCK:
            s.peak = max(s.peak, top)
            if s.count % BLOCK == 0:
                self._learn_limit()
        if s.firing is not None:
            s.calm = s.calm + 1 if top < 0.5 * s.limit else 0
        if top >= s.limit and s.count >= LEARNING and s.count >= s.quiet_until:
            # Of several signals the one that is easiest to explain is told: they are in that order.
            told = next(finding for finding in findings if finding.score >= s.limit)
            s.quiet_until = s.count + QUIET
            s.firing, s.calm = told.signal, 0
            return msgspec.structs.replace(told, score=told.score / s.limit)
        if s.firing is not None and s.calm >= CALM:
            told = next((finding for finding in findings if finding.signal == s.firing), findings[0])
            s.firing = None
            return msgspec.structs.replace(told, kind="recovered", score=told.score / s.limit)
        return None

    def _learn_limit(self) -> None:
        """Where peaks above the limit are a habit, only a higher one is news: median + 1.5 robust deviations."""
        s = self._state
        s.peaks.append(s.peak)
        s.peak = 0.0
        if len(s.peaks) > BLOCKS:
            del s.peaks[0]
        if len(s.peaks) >= FEWEST:
            middle = _median(s.peaks)
            spread = 1.4826 * _median([abs(peak - middle) for peak in s.peaks])
            s.limit = max(1.0, middle + 1.5 * max(spread, 0.05 * middle))


def _judge(signal: Signal, past: Moments, observed: float, floor: float) -> Finding:
    """Compare a signal with its own past, then make it part of that."""
    z = past.deviation(observed, floor)
    score = (abs(z) if signal == "level" else z) / LIMITS[signal]
    finding = Finding("anomaly", signal, score, observed, past.mean, z)
    past.add(observed)
    return finding


def _median(values: list[float]) -> float:
    ranked = sorted(values)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2
