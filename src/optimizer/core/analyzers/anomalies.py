"""Anomalies of what services do, minute by minute, and of every metric that is sent in."""

import msgspec

from optimizer.core.analyzers.alerts import AlertBook
from optimizer.core.analyzers.rolling import EventClock, event_time
from optimizer.core.analyzers.values import MINUTE, Condition, Findings, Insight, Report, Severity, insight_of, wilson
from optimizer.core.anomaly import AnomalyAlert, AnomalyMonitor, MonitorState
from optimizer.core.anomaly.moments import Moments
from optimizer.model import FeedbackEvent, MetricSample

MAX_SERVICES = 1_000
MAX_RECENT = 1_000
"""Anomalies kept for reports and for finding those that come together."""

GRACE = MINUTE
"""A minute is judged when another has passed: events may be out of order by so much."""

BASELINE = 60


class AnomalySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's defaults (section 4.1) for what is not a question of a series' own past."""

    collective: int = 3
    collective_window: int = 5 * MINUTE
    volume: tuple[float, float, float] = (0.5, 0.75, 1.0)
    errors: tuple[float, float, float] = (0.05, 0.1, 0.2)
    minimum_events: int = 30
    minimum_minutes: int = 30


class MinuteCounts(msgspec.Struct, array_like=True):
    """One minute of a service."""

    requests: int = 0
    errors: int = 0
    latency: float = 0.0
    timed: int = 0
    cost: float = 0.0
    priced: int = 0


class ServiceMinutes(msgspec.Struct, array_like=True):
    """A service's open minutes, its own time, and the usual number of requests in a minute."""

    clock: EventClock = msgspec.field(default_factory=EventClock)
    open: dict[int, MinuteCounts] = {}
    closed: int | None = None
    usual: Moments = msgspec.field(default_factory=Moments)
    late: int = 0
    last: MinuteCounts = msgspec.field(default_factory=MinuteCounts)
    last_usual: float | None = None


class AnomalyState(msgspec.Struct, array_like=True):
    """Everything, as plain values."""

    services: dict[str, ServiceMinutes]
    book: AlertBook
    monitor: MonitorState
    recent: list[AnomalyAlert]
    fresh: list[AnomalyAlert]


class AnomalyAnalyzer:
    """Feed it every call and every metric sample, ask it once a minute.

    Metric samples are judged at once (`observe_sample`). Of calls, each service's requests, error rate, mean latency
    and cost of every minute are series of the same monitor, named `calls.<what>` and tagged with the service.
    """

    def __init__(self, settings: AnomalySettings | None = None, state: AnomalyState | None = None) -> None:
        self._settings = AnomalySettings() if settings is None else settings
        self._services: dict[str, ServiceMinutes] = {} if state is None else state.services
        self._book = AlertBook("anomaly") if state is None else state.book
        self.monitor = AnomalyMonitor(None if state is None else state.monitor)
        self._recent: list[AnomalyAlert] = [] if state is None else state.recent
        self._fresh: list[AnomalyAlert] = [] if state is None else state.fresh

    def state(self) -> AnomalyState:
        """Everything, as plain values; an analyzer made from it goes on exactly as this one."""
        return AnomalyState(self._services, self._book, self.monitor.state(), self._recent, self._fresh)

    def observe_sample(self, sample: MetricSample) -> AnomalyAlert | None:
        """Judge one sample of any series and learn it."""
        alert = self.monitor.observe(sample)
        if alert is not None and alert.kind == "anomaly":
            for kept in (self._recent, self._fresh):
                kept.append(alert)
                del kept[:-MAX_RECENT]
        return alert

    def observe(self, event: FeedbackEvent) -> list[AnomalyAlert]:
        """Count one finished call; what the minutes say that it brings to an end."""
        minutes = self._services.pop(event.service, None)
        if minutes is None:
            minutes = ServiceMinutes()
            if len(self._services) >= MAX_SERVICES:
                del self._services[next(iter(self._services))]
        self._services[event.service] = minutes  # last in the order: used most recently
        time = event_time(event)
        minutes.clock.observe(time, event.received_at)
        at = time // MINUTE
        if minutes.closed is not None and at <= minutes.closed:
            minutes.late += 1
            return []
        counts = minutes.open.get(at)
        if counts is None:
            counts = minutes.open[at] = MinuteCounts()
        _count(counts, event)
        return self._close(event.service, minutes, minutes.clock.newest)

    def analyze(self, now: int) -> Report:
        """Close minutes that are over, then report each service in its own time when arrivals are stamped `now`."""
        findings = Findings()
        for service, minutes in sorted(self._services.items()):
            at = minutes.clock.at(now)
            self._close(service, minutes, at)
            findings.events += minutes.last.requests
            findings.metrics[service] = {"requests_per_minute": float(minutes.last.requests)}
            _check_volume(findings, service, minutes, self._settings)
            _check_errors(findings, service, minutes, self._settings)
        self._check_collective(findings)
        findings.insights += [_told(alert) for alert in self._fresh]
        self._fresh = []
        report = findings.report("anomaly", now, self._book.update(now, findings.conditions))
        horizon = max((alert.timestamp for alert in self._recent), default=0) - self._settings.collective_window
        self._recent = [alert for alert in self._recent if alert.timestamp >= horizon]
        return report

    def _close(self, service: str, minutes: ServiceMinutes, at: int) -> list[AnomalyAlert]:
        """Judge the minutes that no event can change any more; silent ones count as minutes without requests."""
        end = (at - GRACE) // MINUTE
        if not minutes.open and minutes.closed is None:
            return []
        start = min(minutes.open) if minutes.closed is None else minutes.closed + 1
        out: list[AnomalyAlert] = []
        silent = range(max(start, end - BASELINE), end)
        for minute in sorted({*silent, *(minute for minute in minutes.open if minute < end)}):
            counts = minutes.open.get(minute, MinuteCounts())
            usual = minutes.usual
            minutes.last_usual = usual.mean if usual.count >= self._settings.minimum_minutes else None
            usual.add(float(counts.requests), BASELINE)
            minutes.last = counts
            for name, value in _series(counts):
                sample = MetricSample(
                    name=name,
                    tags={"service": service},
                    value=value,
                    timestamp=(minute + 1) * MINUTE,
                    received_at=minutes.clock.heard,
                )
                alert = self.observe_sample(sample)
                if alert is not None:
                    out.append(alert)
        for minute in [minute for minute in minutes.open if minute < end]:
            del minutes.open[minute]
        if end > start:
            minutes.closed = end - 1
        return out

    def _check_collective(self, findings: Findings) -> None:
        """Anomalies of several series within five minutes point to one cause."""
        window, recent = self._settings.collective_window, sorted(self._recent, key=lambda alert: alert.timestamp)
        if not recent:
            return
        end = recent[-1].timestamp
        together = [alert for alert in recent if alert.timestamp > end - window]
        names = sorted({f"{alert.metric} {alert.tags}" for alert in together})
        if len(names) >= self._settings.collective:
            found = Condition(
                kind="collective_anomaly",
                severity="error",
                service="",
                metric="anomalies",
                value=float(len(names)),
                threshold=float(self._settings.collective),
                timestamp=end,
                title=f"{len(names)} series became unusual within five minutes",
                description=", ".join(names[:10]),
            )
            findings.conditions.append(found)
            findings.insights.append(insight_of(found, {"series": float(len(names))}))


def _count(counts: MinuteCounts, event: FeedbackEvent) -> None:
    counts.requests += 1
    if event.error_type is not None:
        counts.errors += 1
    elif event.latency_ms is not None:
        counts.latency += event.latency_ms
        counts.timed += 1
    if event.cost_usd is not None:
        counts.cost += float(event.cost_usd)
        counts.priced += 1


def _series(counts: MinuteCounts) -> list[tuple[str, float]]:
    """The minute's numbers; what nobody reported is not a zero."""
    series = [("calls.requests", float(counts.requests))]
    if counts.requests:
        series.append(("calls.error_rate", counts.errors / counts.requests))
    if counts.timed:
        series.append(("calls.latency_ms", counts.latency / counts.timed))
    if counts.priced:
        series.append(("calls.cost_usd", counts.cost))
    return series


def _level(value: float, limits: tuple[float, float, float]) -> Severity | None:
    """How many of the three limits the value exceeds, as a severity."""
    severities: tuple[Severity | None, ...] = (None, "warning", "error", "critical")
    return severities[sum(value > limit for limit in limits)]


def _check_volume(findings: Findings, service: str, minutes: ServiceMinutes, settings: AnomalySettings) -> None:
    """The last minute's requests against the past hour's minutes, beyond what chance gives such counts."""
    usual, count = minutes.last_usual, minutes.last.requests
    if usual is None or usual < settings.minimum_events:
        return
    change = count / usual - 1.0
    severity = _level(abs(change), settings.volume)
    if severity is None or abs(count - usual) < 4.0 * max(usual, minutes.usual.variance) ** 0.5:
        return
    found = Condition(
        kind="volume_anomaly",
        severity=severity,
        service=service,
        metric="requests_per_minute",
        value=float(count),
        threshold=usual,
        timestamp=((minutes.closed or 0) + 1) * MINUTE,
        title=f"{service}: {count} requests in a minute, usually {usual:.0f}",
        description=f"{change:+.0%} against the past hour's minutes.",
    )
    findings.conditions.append(found)
    findings.insights.append(insight_of(found, {"change": change, "usual": usual}))


def _check_errors(findings: Findings, service: str, minutes: ServiceMinutes, settings: AnomalySettings) -> None:
    counts = minutes.last
    if counts.requests < settings.minimum_events:
        return
    low, high = wilson(counts.errors, counts.requests)
    severity = _level(low, settings.errors)
    if severity is None:
        return
    rate = counts.errors / counts.requests
    found = Condition(
        kind="error_burst",
        severity=severity,
        service=service,
        metric="error_rate_per_minute",
        value=rate,
        threshold=settings.errors[0],
        timestamp=((minutes.closed or 0) + 1) * MINUTE,
        title=f"{service}: {rate:.0%} of a minute's calls failed",
        description=f"{counts.errors} of {counts.requests}, 90 % interval {low:.1%} to {high:.1%}.",
    )
    findings.conditions.append(found)
    findings.insights.append(insight_of(found, {"low": low, "high": high}, 0.95))


def _told(alert: AnomalyAlert) -> Insight:
    return Insight(
        kind=f"anomalous_{alert.signal}",
        severity=alert.severity,
        service=alert.tags.get("service", ""),
        title=f"{alert.metric}: its {alert.signal} is unlike what it was",
        description=f"{alert.observed:.6g} where {alert.expected:.6g} is usual, {alert.deviations:.1f} deviations.",
        evidence={
            "observed": alert.observed,
            "expected": alert.expected,
            "deviations": alert.deviations,
            "score": alert.score,
            "timestamp": float(alert.timestamp),
        },
    )
