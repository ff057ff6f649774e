"""Answers' quality, users' ratings, errors and service levels of each service."""

from math import sqrt

import msgspec

from optimizer.core.analyzers.alerts import AlertBook
from optimizer.core.analyzers.rolling import RollingBook, RollingState, View, event_time
from optimizer.core.analyzers.values import Condition, Findings, Insight, Report, Severity, insight_of, wilson
from optimizer.model import FeedbackEvent


class QualitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's defaults (section 4.1).

    Ratings are on one declared scale, 0 to `rating_scale`; others are counted as off the scale and not averaged.
    """

    sla_p95_ms: float = 1_000.0
    sla_p99_ms: float = 2_000.0
    minimum_success: float = 0.995
    minimum_rating: float = 4.0
    rating_scale: float = 5.0
    error_warning: float = 0.01
    error_critical: float = 0.05
    compliance_warning: float = 0.95
    compliance_critical: float = 0.9
    degradation: float = 0.1
    minimum_samples: int = 10


class QualityState(msgspec.Struct, array_like=True):
    """Everything, as plain values."""

    services: dict[str, RollingState]
    book: AlertBook
    off_scale: int


class QualityAnalyzer:
    """Feed it every call, ask it once a minute.

    A fall of `quality` itself is told by drift detection, whose false alarms are bounded; here it is an insight only.
    """

    def __init__(self, settings: QualitySettings | None = None, state: QualityState | None = None) -> None:
        self._settings = QualitySettings() if settings is None else settings
        self._services = RollingBook(None if state is None else state.services)
        self._book = AlertBook("quality") if state is None else state.book
        self.off_scale = 0 if state is None else state.off_scale

    def state(self) -> QualityState:
        """Everything, as plain values; an analyzer made from it goes on exactly as this one."""
        return QualityState(self._services.state(), self._book, self.off_scale)

    def observe(self, event: FeedbackEvent) -> None:
        """Count one finished call."""
        failed = event.error_type is not None
        rating = event.rating
        if rating is not None and not 0.0 <= rating <= self._settings.rating_scale:
            self.off_scale += 1
            rating = None
        within = None
        if failed:
            within = 0.0
        elif event.latency_ms is not None:
            within = float(event.latency_ms <= self._settings.sla_p99_ms)
        values = {
            "failed": float(failed),
            "quality": event.quality,
            "rating": rating,
            "within_sla": within,
            "latency_ms": None if failed else event.latency_ms,
        }
        self._services.add(event.service, event_time(event), event.received_at, values)

    def observe_score(self, service: str, value: float, time: int, received: int) -> None:
        """Count a quality score that came apart from its call, at the time it came."""
        self._services.add(service, time, received, {"quality": value})

    def analyze(self, now: int) -> Report:
        """The last five minutes of each service, in its own time, when arrivals are stamped `now`."""
        findings = Findings()
        for view in self._services.views(now):
            findings.events += view.tally.events
            findings.metrics[view.service] = _numbers(view, self._settings)
            _check_errors(findings, view, self._settings)
            _check_rating(findings, view, self._settings)
            _check_compliance(findings, view, self._settings)
            _check_degradation(findings, view, self._settings)
        return findings.report("quality", now, self._book.update(now, findings.conditions))


def _numbers(view: View, settings: QualitySettings) -> dict[str, float]:
    metrics = view.tally.metrics
    names: tuple[str, ...] = ("quality", "rating")
    numbers = {name: metrics[name].mean for name in names if name in metrics}
    if "failed" in metrics:
        numbers["success_rate"] = 1.0 - metrics["failed"].mean
    if "within_sla" in metrics:
        numbers["sla_compliance"] = metrics["within_sla"].mean
    latency = metrics.get("latency_ms")
    if latency is not None:
        p95, p99 = latency.quantiles((0.95, 0.99))
        numbers["p95_met"] = float(p95 is not None and p95 <= settings.sla_p95_ms)
        numbers["p99_met"] = float(p99 is not None and p99 <= settings.sla_p99_ms)
    return numbers


def _check_errors(findings: Findings, view: View, settings: QualitySettings) -> None:
    failed = view.tally.metrics.get("failed")
    if failed is None or failed.count < settings.minimum_samples:
        return
    low, high = wilson(failed.count * failed.mean, failed.count)
    limits: tuple[tuple[float, Severity], ...] = (
        (settings.error_critical, "critical"),
        (settings.error_warning, "warning"),
        (1.0 - settings.minimum_success, "info"),
    )
    for limit, severity in limits:
        if low > limit:
            found = Condition(
                kind="high_error_rate",
                severity=severity,
                service=view.service,
                metric="error_rate",
                value=failed.mean,
                threshold=limit,
                timestamp=view.at,
                title=f"{view.service}: {failed.mean:.1%} of calls fail",
                description=f"{failed.count} calls in five minutes, 90 % interval {low:.1%} to {high:.1%}.",
            )
            findings.insights.append(insight_of(found, {"low": low, "high": high, "calls": float(failed.count)}, 0.95))
            if severity != "info":
                findings.conditions.append(found)
            return


def _check_rating(findings: Findings, view: View, settings: QualitySettings) -> None:
    """Ratings are below the minimum for certain when the upper end of their mean's interval is."""
    rating = view.tally.metrics.get("rating")
    summary = None if rating is None else rating.summary()
    if summary is None or summary.variance is None or summary.count < settings.minimum_samples:
        return
    high = summary.mean + 1.645 * sqrt(summary.variance / summary.count)
    if high < settings.minimum_rating:
        found = Condition(
            kind="low_rating",
            severity="warning",
            service=view.service,
            metric="rating",
            value=summary.mean,
            threshold=settings.minimum_rating,
            timestamp=view.at,
            title=f"{view.service}: users rate {summary.mean:.2f} of {settings.rating_scale:.0f}",
            description=f"{summary.count} ratings in five minutes; with 95 % confidence the mean is below {high:.2f}.",
        )
        findings.conditions.append(found)
        findings.insights.append(insight_of(found, {"ratings": float(summary.count), "upper_limit": high}, 0.95))


def _check_compliance(findings: Findings, view: View, settings: QualitySettings) -> None:
    """A call keeps the service level when it succeeds within the p99 limit."""
    within = view.tally.metrics.get("within_sla")
    if within is None or within.count < settings.minimum_samples:
        return
    low, high = wilson(within.count * within.mean, within.count)
    limits: tuple[tuple[float, Severity], ...] = (
        (settings.compliance_critical, "critical"),
        (settings.compliance_warning, "warning"),
    )
    for limit, severity in limits:
        if high < limit:
            found = Condition(
                kind="sla_missed",
                severity=severity,
                service=view.service,
                metric="sla_compliance",
                value=within.mean,
                threshold=limit,
                timestamp=view.at,
                title=f"{view.service}: {within.mean:.1%} of calls keep the service level",
                description=f"Success within {settings.sla_p99_ms:.0f} ms; {within.count} calls, 90 % interval "
                f"{low:.1%} to {high:.1%}.",
            )
            findings.conditions.append(found)
            findings.insights.append(insight_of(found, {"low": low, "high": high, "calls": float(within.count)}, 0.95))
            return


def _check_degradation(findings: Findings, view: View, settings: QualitySettings) -> None:
    usual, quality = view.rolling.usual("quality.mean"), view.tally.metrics.get("quality")
    summary = None if quality is None else quality.summary()
    if usual is None or summary is None or summary.variance is None or summary.count < settings.minimum_samples:
        return
    change = summary.mean / usual.mean - 1.0 if usual.mean > 0.0 else 0.0
    error = sqrt(summary.variance / summary.count + usual.variance / min(usual.count, 60))
    if change < -settings.degradation and error > 0.0 and (usual.mean - summary.mean) / error > 3.0:
        findings.insights.append(
            Insight(
                kind="quality_degradation",
                severity="warning",
                service=view.service,
                title=f"{view.service}: quality is {-change:.0%} below its usual {usual.mean:.2f}",
                description="Compared with the minutes of the past hour. Drift detection says when it is certain.",
                evidence={
                    "quality": summary.mean,
                    "usual": usual.mean,
                    "change": change,
                    "standard_errors": (usual.mean - summary.mean) / error,
                },
            )
        )
