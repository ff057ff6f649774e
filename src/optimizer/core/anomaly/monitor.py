"""Anomalies of any metric series, for many series at once, in bounded memory."""

from math import isfinite
from typing import Literal

import msgspec

from optimizer.core.anomaly.series import Finding, SeriesDetector, SeriesState, Signal
from optimizer.model import MetricSample

MAX_SERIES = 2_000
"""Series followed at once, 12 kB each; the one unused longest gives way, which is counted."""

Severity = Literal["info", "warning", "error", "critical"]


class AnomalyAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A series does what it never did, or is normal again ("recovered", severity "info").

    `timestamp` is that of the sample that raised it (microseconds since 1970). `observed` and `expected` are the
    signal's: the mean of the last 5 values, the spread of the last 20, or the distance to the nearest earlier
    stretches. `score` is the deviation in units of the limit then in force, so at least 1 for an anomaly.
    """

    metric: str
    tags: dict[str, str]
    timestamp: int
    value: float
    kind: Literal["anomaly", "recovered"]
    signal: Signal
    severity: Severity
    score: float
    deviations: float
    observed: float
    expected: float


class MonitorState(msgspec.Struct, array_like=True):
    """Every series' state by its key, the one used longest ago first."""

    series: dict[str, SeriesState] = {}
    evicted: int = 0
    refused: int = 0


class AnomalyMonitor:
    """Follows every (name, tags) it is shown, with the same settings for all.

    Samples of one series are taken in the order in which they come. A value that is not finite is not a value: it is
    counted in `refused` and changes nothing else.
    """

    def __init__(self, state: MonitorState | None = None) -> None:
        start = MonitorState() if state is None else state
        self._series = {key: SeriesDetector(series) for key, series in start.series.items()}
        self.evicted = start.evicted
        self.refused = start.refused
        self._gone: list[str] = []

    def state(self) -> MonitorState:
        """The whole state, which msgspec encodes; a monitor made from it goes on exactly as this one."""
        return MonitorState({key: series.state() for key, series in self._series.items()}, self.evicted, self.refused)

    def series_state(self, key: str) -> SeriesState | None:
        """One series' state, for callers that store series one by one; None for an unknown key."""
        found = self._series.get(key)
        return None if found is None else found.state()

    def restore_series(self, key: str, state: SeriesState) -> None:
        """Take a series up again where `series_state` left it."""
        self._series[key] = SeriesDetector(state)

    def take_gone(self) -> list[str]:
        """The keys of series that gave way since the last call, for callers that store series one by one."""
        gone, self._gone = self._gone, []
        return gone

    def samples(self, key: str) -> int:
        """How many values of the series were judged."""
        found = self._series.get(key)
        return 0 if found is None else found.count

    def observe(self, sample: MetricSample) -> AnomalyAlert | None:
        """Judge one sample and learn it; at most one alert."""
        if not isfinite(sample.value):
            self.refused += 1
            return None
        finding = self._detector(series_key(sample)).add(sample.value, sample.timestamp // 1_000_000)
        if finding is None:
            return None
        return AnomalyAlert(
            metric=sample.name,
            tags=sample.tags,
            timestamp=sample.timestamp,
            value=sample.value,
            kind=finding.kind,
            signal=finding.signal,
            severity=_severity(finding),
            score=finding.score,
            deviations=finding.deviations,
            observed=finding.observed,
            expected=finding.expected,
        )

    def _detector(self, key: str) -> SeriesDetector:
        found = self._series.pop(key, None)
        if found is None:
            found = SeriesDetector()
            if len(self._series) >= MAX_SERIES:
                oldest = next(iter(self._series))
                del self._series[oldest]
                self._gone.append(oldest)
                del self._gone[:-MAX_SERIES]  # nobody may be taking them
                self.evicted += 1
        self._series[key] = found  # last in the order: used most recently
        return found


def series_key(sample: MetricSample) -> str:
    """The identity of the series that a sample belongs to: its name and its tags in order."""
    return "\x1f".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.tags.items()))])


def _severity(finding: Finding) -> Severity:
    if finding.kind == "recovered":
        return "info"
    if finding.score >= 2.0:
        return "critical"
    return "error" if finding.score >= 1.5 else "warning"
