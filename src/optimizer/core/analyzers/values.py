"""What analyzers say: insights with their numbers, recommendations, conditions that may become alerts, reports.

Times are microseconds since 1970. Names of severities, priorities and actions are the contract's (section 4.1).
"""

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "error", "critical"]
Priority = Literal["low", "medium", "high", "urgent"]
Action = Literal["config_change", "scale", "optimize", "investigate", "monitor", "alert", "review", "no_action"]
Analyzer = Literal["performance", "cost", "quality", "pattern", "anomaly"]

AlertState = Literal["firing", "escalated", "reminder", "resolved"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Insight(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing, with the numbers behind it.

    `confidence` is the probability, under the method named in docs/statistics-drift.md, that the statement is not
    chance; None where the statement is a plain count and has no error.
    """

    kind: str
    severity: Severity
    service: str
    title: str
    description: str
    evidence: dict[str, float]
    confidence: float | None = None


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about it. No saving is promised that was not measured."""

    kind: str
    priority: Priority
    action: Action
    service: str
    title: str
    description: str
    evidence: dict[str, float]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A state of affairs that holds at this analysis; an `AlertBook` decides whether anybody is told."""

    kind: str
    severity: Severity
    service: str
    metric: str
    value: float
    threshold: float
    timestamp: int
    title: str
    description: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that began ("firing"), grew worse ("escalated"), still holds ("reminder") or ended ("resolved").

    All of one episode share the `alert_id`. `since` is when the condition began.
    """

    alert_id: str
    state: AlertState
    analyzer: Analyzer
    alert_type: str
    severity: Severity
    service: str
    metric: str
    value: float
    threshold: float
    timestamp: int
    since: int
    title: str
    description: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One analysis: what was looked at and what was found. `metrics` are the numbers, by service and name."""

    analyzer: Analyzer
    at: int
    events: int
    summary: str
    insights: tuple[Insight, ...]
    recommendations: tuple[Recommendation, ...]
    alerts: tuple[Alert, ...]
    metrics: dict[str, dict[str, float]]


class Findings(msgspec.Struct):
    """What an analysis collects before it becomes a report."""

    insights: list[Insight] = []
    recommendations: list[Recommendation] = []
    conditions: list[Condition] = []
    metrics: dict[str, dict[str, float]] = {}
    events: int = 0

    def report(self, analyzer: Analyzer, now: int, alerts: Sequence[Alert]) -> Report:
        """The report that says all this."""
        return Report(
            analyzer=analyzer,
            at=now,
            events=self.events,
            summary=f"{self.events} events of {len(self.metrics)} services, {len(self.insights)} insights, "
            f"{len(alerts)} alerts",
            insights=tuple(self.insights),
            recommendations=tuple(self.recommendations),
            alerts=tuple(alerts),
            metrics=self.metrics,
        )


def wilson(hits: float, trials: float, z: float = 1.645) -> tuple[float, float]:
    """The interval of a share (Wilson, JASA 22, 1927); z = 1.645 leaves 5 % outside on each side. (0, 1) for none."""
    if trials <= 0:
        return 0.0, 1.0
    share, zz = hits / trials, z * z
    centre = (share + zz / (2 * trials)) / (1 + zz / trials)
    half = z * sqrt(share * (1 - share) / trials + zz / (4 * trials * trials)) / (1 + zz / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def insight_of(condition: Condition, evidence: dict[str, float], confidence: float | None = None) -> Insight:
    """The insight that says what a condition says."""
    return Insight(
        kind=condition.kind,
        severity=condition.severity,
        service=condition.service,
        title=condition.title,
        description=condition.description,
        evidence={"value": condition.value, "threshold": condition.threshold, **evidence},
        confidence=confidence,
    )
