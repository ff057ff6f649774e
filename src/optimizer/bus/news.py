"""The named topics: what the rooms tell and the front doors' subscriptions follow."""

from dataclasses import dataclass, field

from optimizer.bus.topic import Topic
from optimizer.core.rollout import Notify
from optimizer.core.windows import WindowResult
from optimizer.model import Alert, EntryChange, MetricSample, OptimizationChange, SystemNotice


@dataclass(frozen=True, slots=True)
class News:
    """One topic for each kind of change. Whoever makes a change durable publishes it after that."""

    entries: Topic[EntryChange] = field(default_factory=lambda: Topic("entries"))
    optimizations: Topic[OptimizationChange] = field(default_factory=lambda: Topic("optimizations"))
    samples: Topic[MetricSample] = field(default_factory=lambda: Topic("samples"))
    alerts: Topic[Alert] = field(default_factory=lambda: Topic("alerts"))
    system: Topic[SystemNotice] = field(default_factory=lambda: Topic("system"))
    rollouts: Topic[Notify] = field(default_factory=lambda: Topic("rollouts"))
    windows: Topic[WindowResult] = field(default_factory=lambda: Topic("windows"))

    def topics(
        self,
    ) -> tuple[
        Topic[EntryChange]
        | Topic[OptimizationChange]
        | Topic[MetricSample]
        | Topic[Alert]
        | Topic[SystemNotice]
        | Topic[Notify]
        | Topic[WindowResult],
        ...,
    ]:
        """All of them, for statistics and for closing."""
        return (self.entries, self.optimizations, self.samples, self.alerts, self.system, self.rollouts, self.windows)
