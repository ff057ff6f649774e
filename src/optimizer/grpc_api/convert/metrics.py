"""Metrics between the history and the contract, whose numbers are never unset: what is not known is NaN."""

from optimizer.core.history import Tally
from optimizer.grpc_api.convert.times import to_time
from optimizer.grpc_api.pb import metrics_pb2 as pb
from optimizer.model import Alert, MetricSample

UNKNOWN = float("nan")
SEVERITIES = {
    "info": pb.ALERT_SEVERITY_INFO,
    "warning": pb.ALERT_SEVERITY_WARNING,
    "error": pb.ALERT_SEVERITY_ERROR,
    "critical": pb.ALERT_SEVERITY_CRITICAL,
}


def to_performance(sums: Tally, start: int | None, end: int | None) -> pb.PerformanceMetrics:
    """Latency, errors and throughput over the time from `start` to `end` (microseconds)."""
    p50, p95, p99 = sums.latency.quantiles((0.5, 0.95, 0.99))
    seconds = (end - start) / 1_000_000 if start is not None and end is not None else 0.0
    return pb.PerformanceMetrics(
        avg_latency_ms=known(sums.mean_latency()),
        p50_latency_ms=known(p50),
        p95_latency_ms=known(p95),
        p99_latency_ms=known(p99),
        error_rate=known(sums.error_rate()),
        throughput_qps=sums.calls / seconds if seconds > 0 else UNKNOWN,
        total_requests=sums.calls,
        period_start=to_time(start),
        period_end=to_time(end),
    )


def to_cost(sums: Tally, start: int | None, end: int | None, breakdown: dict[str, float]) -> pb.CostMetrics:
    """Cost and tokens; `breakdown` is the known cost by model."""
    mean = sums.mean_cost()
    return pb.CostMetrics(
        total_cost=float(sums.cost_usd) if sums.cost_known or not sums.calls else UNKNOWN,
        avg_cost_per_request=UNKNOWN if mean is None else float(mean),
        total_tokens=sum(sums.tokens),
        input_tokens=sums.tokens[0],
        output_tokens=sums.tokens[1],
        period_start=to_time(start),
        period_end=to_time(end),
        cost_breakdown=breakdown,
    )


def to_quality(sums: Tally, start: int | None, end: int | None) -> pb.QualityMetrics:
    """Mean quality and the means of the scores of those names."""
    return pb.QualityMetrics(
        overall_score=known(sums.mean_score("quality")),
        accuracy=known(sums.mean_score("accuracy")),
        relevance=known(sums.mean_score("relevance")),
        coherence=known(sums.mean_score("coherence")),
        user_satisfaction=known(sums.mean_score("user_satisfaction")),
        period_start=to_time(start),
        period_end=to_time(end),
    )


def gaps(sums: Tally) -> str:
    """What was not reported, in words; empty when everything was."""
    if not sums.calls:
        return "no calls in this range"
    missing = [
        f"{what} of {sums.calls - count} of {sums.calls} calls"
        for what, count in (("cost", sums.cost_known), ("tokens", sums.tokens_known), ("latency", sums.latency.count))
        if count < sums.calls
    ]
    return "not reported: " + ", ".join(missing) if missing else ""


def to_sample_event(sample: MetricSample) -> pb.MetricEvent:
    """A recorded point as it arrived."""
    point = pb.MetricPoint(
        name=sample.name,
        value=sample.value,
        unit=sample.unit or "",
        timestamp=to_time(sample.timestamp),
        tags=sample.tags,
    )
    return pb.MetricEvent(metric=point, timestamp=to_time(sample.received_at))


def to_alert_event(alert: Alert) -> pb.AlertEvent:
    """An alert on the wire."""
    return pb.AlertEvent(
        alert_id=alert.alert_id,
        alert_type=alert.alert_type,
        severity=SEVERITIES[alert.severity],
        service=alert.service or "",
        title=alert.title,
        description=alert.description,
        trigger_metric=pb.MetricPoint(name=alert.metric, value=alert.value, timestamp=to_time(alert.at)),
        timestamp=to_time(alert.at),
        metadata=alert.metadata,
    )


def known(value: float | None) -> float:
    """The value, NaN when it is not known."""
    return UNKNOWN if value is None else value
