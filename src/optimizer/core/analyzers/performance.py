"""Latency, throughput and success of each service against fixed limits and against its own past hour."""

from math import sqrt

import msgspec

from optimizer.core.analyzers.alerts import AlertBook
from optimizer.core.analyzers.rolling import RollingBook, RollingState, View, event_time
from optimizer.core.analyzers.values import (
    SECOND,
    Condition,
    Findings,
    Insight,
    Recommendation,
    Report,
    Severity,
    insight_of,
    wilson,
)
from optimizer.model import FeedbackEvent


class PerformanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's defaults (section 4.1). Shares are of 1, latencies in milliseconds."""

    latency_p95_warning: float = 1_000.0
    latency_p95_critical: float = 5_000.0
    low_throughput: float = 1.0
    degradation: float = 0.2
    degradation_critical: float = 0.5
    success_warning: float = 0.95
    success_error: float = 0.9
    minimum_events: int = 20


class PerformanceState(msgspec.Struct, array_like=True):
    """Everything, as plain values."""

    services: dict[str, RollingState]
    book: AlertBook


class PerformanceAnalyzer:
    """Feed it every call, ask it once a minute."""

    def __init__(self, settings: PerformanceSettings | None = None, state: PerformanceState | None = None) -> None:
        self._settings = PerformanceSettings() if settings is None else settings
        self._services = RollingBook(None if state is None else state.services)
        self._book = AlertBook("performance") if state is None else state.book

    def state(self) -> PerformanceState:
        """Everything, as plain values; an analyzer made from it goes on exactly as this one."""
        return PerformanceState(self._services.state(), self._book)

    def observe(self, event: FeedbackEvent) -> None:
        """Count one finished call; latencies are those of calls that succeeded."""
        failed = event.error_type is not None
        values = {
            "failed": float(failed),
            "latency_ms": None if failed else event.latency_ms,
            "ttft_ms": None if failed else event.ttft_ms,
        }
        self._services.add(event.service, event_time(event), event.received_at, values)

    def analyze(self, now: int) -> Report:
        """The last five minutes of each service, in its own time, when arrivals are stamped `now`."""
        findings = Findings()
        for view in self._services.views(now):
            findings.events += view.tally.events
            findings.metrics[view.service] = _numbers(view)
            _check_throughput(findings, view, self._settings)
            if view.tally.events >= self._settings.minimum_events:
                _check_success(findings, view, self._settings)
                _check_latency(findings, view, self._settings)
                _check_degradation(findings, view, self._settings)
        return findings.report("performance", now, self._book.update(now, findings.conditions))


def _numbers(view: View) -> dict[str, float]:
    rolling, tally = view.rolling, view.tally
    numbers: dict[str, float] = {"requests": float(tally.events), "throughput_rps": tally.events * SECOND / view.span}
    if rolling.throughput is not None:
        numbers["throughput_ema_rps"] = rolling.throughput
    latency = tally.metrics.get("latency_ms")
    if latency is not None:
        names = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms", "latency_p999_ms")
        found = zip(names, latency.quantiles((0.5, 0.9, 0.95, 0.99, 0.999)), strict=True)
        numbers |= {name: value for name, value in found if value is not None}
    first = tally.metrics.get("ttft_ms")
    if first is not None and (value := first.quantile(0.95)) is not None:
        numbers["ttft_p95_ms"] = value
    failed = tally.metrics.get("failed")
    if failed is not None:
        numbers["success_rate"] = 1.0 - failed.mean
    return numbers


def _check_success(findings: Findings, view: View, settings: PerformanceSettings) -> None:
    """A success rate is below a limit for certain when its whole interval is."""
    service, failed = view.service, view.tally.metrics["failed"]
    low, high = wilson(failed.count * (1.0 - failed.mean), failed.count)
    limits: tuple[tuple[float, Severity], ...] = (
        (settings.success_error, "error"),
        (settings.success_warning, "warning"),
    )
    for limit, severity in limits:
        if high < limit:
            share = 1.0 - failed.mean
            found = Condition(
                kind="low_success_rate",
                severity=severity,
                service=service,
                metric="success_rate",
                value=share,
                threshold=limit,
                timestamp=view.at,
                title=f"{service}: {share:.1%} of calls succeed",
                description=f"{failed.count} calls in five minutes, 90 % interval {low:.1%} to {high:.1%}.",
            )
            findings.conditions.append(found)
            findings.insights.append(insight_of(found, {"low": low, "high": high, "calls": float(failed.count)}, 0.95))
            return


def _check_latency(findings: Findings, view: View, settings: PerformanceSettings) -> None:
    """A p95 is above a limit for certain when the share of slower calls is above 5 % for certain."""
    service, latency = view.service, view.tally.metrics.get("latency_ms")
    if latency is None or latency.count < settings.minimum_events:
        return
    limits: tuple[tuple[float, Severity], ...] = (
        (settings.latency_p95_critical, "critical"),
        (settings.latency_p95_warning, "warning"),
    )
    for limit, severity in limits:
        above = latency.positive.share_above(limit) or 0.0
        low, high = wilson(above * latency.count, latency.count)
        if low > 0.05:
            p95 = latency.quantile(0.95) or 0.0
            found = Condition(
                kind="high_latency",
                severity=severity,
                service=service,
                metric="latency_p95_ms",
                value=p95,
                threshold=limit,
                timestamp=view.at,
                title=f"{service}: p95 latency is {p95:.0f} ms",
                description=f"{above:.1%} of {latency.count} calls took longer than {limit:.0f} ms (90 % interval "
                f"{low:.1%} to {high:.1%}); at most 5 % may.",
            )
            findings.conditions.append(found)
            findings.insights.append(insight_of(found, {"share_above": above, "low": low, "high": high}, 0.95))
            findings.recommendations.append(
                Recommendation(
                    kind="high_latency",
                    priority="urgent" if severity == "critical" else "high",
                    action="investigate",
                    service=service,
                    title="Look at the slowest calls, or offer the policy a faster variant",
                    description="A latency constraint on the service lets the policy move traffic by itself.",
                    evidence={"latency_p95_ms": p95, "limit_ms": limit},
                )
            )
            return


def _check_degradation(findings: Findings, view: View, settings: PerformanceSettings) -> None:
    service, usual, latency = view.service, view.rolling.usual("latency_ms.p95"), view.tally.metrics.get("latency_ms")
    if usual is None or latency is None or usual.mean <= 0.0:
        return
    p95 = latency.quantile(0.95) or 0.0
    change = p95 / usual.mean - 1.0
    deviations = (p95 - usual.mean) / max(sqrt(usual.variance), 0.02 * usual.mean)
    if change > settings.degradation and deviations > 3.0:
        severity: Severity = "critical" if change > settings.degradation_critical else "warning"
        findings.insights.append(
            Insight(
                kind="latency_degradation",
                severity=severity,
                service=service,
                title=f"{service}: p95 latency is {change:.0%} above its usual {usual.mean:.0f} ms",
                description="Compared with the p95 of each minute of the past hour.",
                evidence={"p95_ms": p95, "usual_ms": usual.mean, "change": change, "deviations": deviations},
            )
        )


def _check_throughput(findings: Findings, view: View, settings: PerformanceSettings) -> None:
    """Low traffic is news only where there used to be more."""
    service, usual, rate = view.service, view.rolling.usual("requests"), view.tally.events * SECOND / view.span
    if usual is None or rate >= settings.low_throughput:
        return
    before = usual.mean / 60.0
    fell = before >= settings.low_throughput
    findings.insights.append(
        Insight(
            kind="low_throughput",
            severity="warning" if fell else "info",
            service=service,
            title=f"{service}: {rate:.2f} requests a second",
            description=f"The past hour's minutes had {before:.2f} a second on average.",
            evidence={"rate": rate, "usual_rate": before, "limit": settings.low_throughput},
        )
    )
