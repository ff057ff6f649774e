"""What is told on the bus: changes that subscribers of either front door follow. Times are microseconds since 1970."""

from dataclasses import dataclass, field
from typing import Literal

from optimizer.model.optimizations import Optimization

ScopeKind = Literal["global", "service", "environment", "user"]
Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose configuration: everybody's (`id` is ""), or that of one service, environment or user."""

    kind: ScopeKind = "global"
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChange:
    """A configuration entry was set, replaced or removed (None: there was or is none). Sensitive values are masked."""

    scope: Scope
    key: str
    old_value: str | None
    new_value: str | None
    at: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationChange:
    """An optimization reached a status; `optimization` is its state after that."""

    optimization: Optimization
    message: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNotice:
    """Something that an operator may want to know, such as "config.reloaded"."""

    event_type: str
    severity: Severity
    message: str
    at: int
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something is not as it should be. `at` is the event time of the point that raised it."""

    alert_id: str
    alert_type: str
    severity: Severity
    metric: str
    at: int
    value: float
    title: str
    description: str = ""
    service: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
