"""MetricsService: what calls took, cost and were worth over time, and recorded series."""

from collections.abc import Callable, Iterable
from typing import Any

from optimizer.core.history import CallHistory, Kind, Tally, parse_step, total, trend
from optimizer.core.history.periods import DAY, HOUR, MINUTE
from optimizer.grpc_api.convert import from_time_range, partial, success, to_time
from optimizer.grpc_api.convert.metrics import (
    SEVERITIES,
    gaps,
    to_alert_event,
    to_cost,
    to_performance,
    to_quality,
    to_sample_event,
)
from optimizer.grpc_api.handling import Call, first, unary
from optimizer.grpc_api.pb import metrics_pb2 as pb
from optimizer.grpc_api.pb.common_pb2 import ApiResponse
from optimizer.grpc_api.pb.metrics_grpc import MetricsServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.services.series import SeriesMethods
from optimizer.grpc_api.streams.pulse import Pulse
from optimizer.grpc_api.streams.subscriptions import Feed
from optimizer.model import Alert, InvalidArgument, MetricSample

DIMENSIONS = ("service", "variant", "provider", "model")
TRENDS: dict[str, Callable[[Tally], float | None]] = {
    "latency_ms": lambda tally: tally.mean_latency(),
    "error_rate": lambda tally: tally.error_rate(),
    "cost_usd": lambda tally: None if (mean := tally.mean_cost()) is None else float(mean),
    "quality": lambda tally: tally.mean_score("quality"),
    "requests": lambda tally: float(tally.calls),
}


class MetricsService(SeriesMethods, MetricsServiceBase):
    """Ranges are answered in whole periods (minutes, later hours, later days); replies say which time they cover."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._samples = Feed(rooms.subscriptions, rooms.news.samples, to_sample_event)
        self._alerts = Feed(rooms.subscriptions, rooms.news.alerts, to_alert_event)
        self._performance = Pulse(rooms, _performance_event)
        self._cost = Pulse(rooms, _cost_event)

    @unary
    async def GetPerformanceMetrics(
        self, request: pb.GetPerformanceMetricsRequest, call: Call[Any, Any]
    ) -> pb.GetPerformanceMetricsResponse:
        """See the proto."""
        sums, start, end = await self._total(request, request.granularity)
        return pb.GetPerformanceMetricsResponse(metrics=to_performance(sums, start, end), status=_status(sums))

    @unary
    async def GetCostMetrics(
        self, request: pb.GetCostMetricsRequest, call: Call[Any, Any]
    ) -> pb.GetCostMetricsResponse:
        """See the proto. The breakdown is by model."""
        sums, start, end = await self._total(request, request.granularity)
        breakdown = await self._costs(request)
        return pb.GetCostMetricsResponse(metrics=to_cost(sums, start, end, breakdown), status=_status(sums))

    @unary
    async def GetQualityMetrics(
        self, request: pb.GetQualityMetricsRequest, call: Call[Any, Any]
    ) -> pb.GetQualityMetricsResponse:
        """See the proto."""
        sums, start, end = await self._total(request, request.granularity)
        status = success() if sums.scores else partial("no judgements in this range")
        return pb.GetQualityMetricsResponse(metrics=to_quality(sums, start, end), status=status)

    @unary
    async def GetMetricsSummary(
        self, request: pb.GetMetricsSummaryRequest, call: Call[Any, Any]
    ) -> pb.GetMetricsSummaryResponse:
        """See the proto."""
        sums, start, end = await self._total(request, "")
        summary = pb.MetricsSummary(
            performance=to_performance(sums, start, end),
            cost=to_cost(sums, start, end, await self._costs(request)),
            quality=to_quality(sums, start, end),
            computed_at=to_time(self._rooms.now()),
        )
        return pb.GetMetricsSummaryResponse(summary=summary, status=_status(sums))

    @unary
    async def GetMetricsAnalytics(
        self, request: pb.GetMetricsAnalyticsRequest, call: Call[Any, Any]
    ) -> pb.GetMetricsAnalyticsResponse:
        """Keys are "dimension=value"; trends are over the periods of the range."""
        dimensions = list(request.dimensions) or ["service", "model"]
        for dimension in dimensions:
            if dimension not in DIMENSIONS:
                raise InvalidArgument(f"dimensions are {', '.join(DIMENSIONS)}", field="dimensions")
        start, end = from_time_range(request)
        calls = (await self.history()).calls
        groups: dict[str, Tally] = {}
        for _, kind, tally in calls.select(start, end, of_services(request.services)):
            for dimension in dimensions:
                name = f"{dimension}={getattr(kind, dimension)}"
                groups.setdefault(name, Tally()).merge(tally)
        analytics = pb.MetricsAnalytics(
            cost_by_dimension={name: float(t.cost_usd) for name, t in groups.items() if t.cost_known},
            latency_by_dimension={n: mean for n, t in groups.items() if (mean := t.mean_latency()) is not None},
            error_rate_by_dimension={n: rate for n, t in groups.items() if (rate := t.error_rate()) is not None},
            request_count_by_dimension={name: tally.calls for name, tally in groups.items()},
            trends=list(trends(calls, start, end, of_services(request.services))),
        )
        status = success() if groups else partial("no calls in this range")
        return pb.GetMetricsAnalyticsResponse(analytics=analytics, status=status)

    async def SubscribeMetrics(self, stream: Call[pb.SubscribeMetricsRequest, pb.MetricEvent]) -> None:
        """See the proto."""
        request = await first(stream)
        names, services = frozenset(request.metric_names), frozenset(request.services)
        tags = dict(request.tag_filters).items()

        def wanted(sample: MetricSample) -> bool:
            return (
                (not names or sample.name in names)
                and (not services or sample.tags.get("service") in services)
                and tags <= sample.tags.items()
            )

        if request.interval_secs < 0:
            raise InvalidArgument("an interval is not negative", field="interval_secs")
        if request.interval_secs == 0:
            await self._samples.serve(stream, wanted)
        else:
            await self._samples.serve_newest(stream, wanted, _series_of, request.interval_secs)

    async def SubscribePerformanceMetrics(
        self, stream: Call[pb.SubscribePerformanceMetricsRequest, pb.PerformanceMetricsEvent]
    ) -> None:
        """See the proto."""
        request = await first(stream)
        await self._performance.serve(stream, frozenset(request.services), request.interval_secs)

    async def SubscribeCostMetrics(self, stream: Call[pb.SubscribeCostMetricsRequest, pb.CostMetricsEvent]) -> None:
        """See the proto."""
        request = await first(stream)
        await self._cost.serve(stream, frozenset(request.services), request.interval_secs)

    async def SubscribeAlerts(self, stream: Call[pb.SubscribeAlertsRequest, pb.AlertEvent]) -> None:
        """See the proto."""
        request = await first(stream)
        types, services = frozenset(request.alert_types), frozenset(request.services)
        least = 0
        if request.severity_min:
            word = request.severity_min.lower()
            if word not in SEVERITIES:
                raise InvalidArgument(f"severity is one of {', '.join(SEVERITIES)}", field="severity_min")
            least = SEVERITIES[word]

        def wanted(alert: Alert) -> bool:
            return (
                (not types or alert.alert_type in types)
                and (not services or alert.service in services)
                and SEVERITIES[alert.severity] >= least
            )

        await self._alerts.serve(stream, wanted)

    async def _total(self, request: Any, granularity: str) -> tuple[Tally, int | None, int | None]:
        """The sums of the asked services and range. A granularity is checked; one sum has none."""
        parse_step(granularity, MINUTE)
        start, end = from_time_range(request)
        return total((await self.history()).calls, start, end, of_services(request.services))

    async def _costs(self, request: Any) -> dict[str, float]:
        start, end = from_time_range(request)
        costs: dict[str, float] = {}
        for _, kind, tally in (await self.history()).calls.select(start, end, of_services(request.services)):
            if tally.cost_known:
                name = kind.model or "unknown"
                costs[name] = costs.get(name, 0.0) + float(tally.cost_usd)
        return costs


def of_services(names: Iterable[str]) -> Callable[[Kind], bool] | None:
    """Whether a kind of call belongs to the named services; everything does when none is named."""
    wanted = frozenset(names)
    return (lambda kind: kind.service in wanted) if wanted else None


def trends(
    calls: CallHistory, start: int | None, end: int | None, where: Callable[[Kind], bool] | None
) -> Iterable[pb.Trend]:
    """The trend of each metric over the longest kind of period that still gives enough points."""
    for length in (DAY, HOUR, MINUTE):
        steps: dict[int, Tally] = {}
        for period, _, tally in calls.select(start, end, where):
            steps.setdefault(period.start // length, Tally()).merge(tally)
        if len(steps) >= 8 or length == MINUTE:
            for name, value in TRENDS.items():
                found = trend([v for _, tally in sorted(steps.items()) if (v := value(tally)) is not None])
                if found is not None:
                    yield pb.Trend(
                        metric_name=name,
                        direction=found.direction,
                        change_pct=found.change_pct,
                        confidence=found.confidence,
                    )
            return


def _status(sums: Tally) -> ApiResponse:
    said = gaps(sums)
    return partial(said) if said else success()


def _series_of(sample: MetricSample) -> object:
    return sample.name, tuple(sorted(sample.tags.items()))


def _performance_event(service: str, calls: CallHistory, start: int, end: int) -> pb.PerformanceMetricsEvent:
    sums, first_, last = total(calls, start, end, of_services([service]))
    metrics = to_performance(sums, first_ if first_ is not None else start, last if last is not None else end)
    return pb.PerformanceMetricsEvent(metrics=metrics, timestamp=to_time(end), service=service)


def _cost_event(service: str, calls: CallHistory, start: int, end: int) -> pb.CostMetricsEvent:
    sums, first_, last = total(calls, start, end, of_services([service]))
    breakdown: dict[str, float] = {}
    for _, kind, tally in calls.select(start, end, of_services([service])):
        if tally.cost_known:
            name = kind.model or "unknown"
            breakdown[name] = breakdown.get(name, 0.0) + float(tally.cost_usd)
    metrics = to_cost(sums, first_ if first_ is not None else start, last if last is not None else end, breakdown)
    return pb.CostMetricsEvent(metrics=metrics, timestamp=to_time(end), service=service)
