"""MetricsService through an unmodified client: answers are what was taken in."""

import csv
import io
import json
import math
from collections import Counter
from typing import Any

import grpc
import pytest

from optimizer.model import SEVERITIES, Alert
from tests.grpc_api.services.conftest import NOW, Stack
from tests.grpc_api.services.declared import compare, declare, event

MINUTE_AGO = NOW - 60_000_000


def stamp(moment: int) -> dict[str, int]:
    return {"seconds": moment // 1_000_000, "nanos": moment % 1_000_000 * 1_000}


def point(name: str, value: float, *, at: int = MINUTE_AGO, **tags: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "ms", "timestamp": stamp(at), "tags": tags}


async def record(stack: Stack, *points: dict[str, Any]) -> Any:
    metrics = stack.stub("metrics")
    return await metrics.call("RecordMetrics", iter([metrics.pb.RecordMetricsRequest(metrics=points)]))


async def test_what_is_recorded_is_answered(stack: Stack) -> None:
    answer = await record(
        stack,
        point("load", 1.0, host="a"),
        point("load", 3.0, host="b"),
        point("load", -2.0, at=MINUTE_AGO + 5, host="a"),
    )
    assert (answer.recorded, answer.failed, answer.status.status) == (3, 0, 1)
    metrics = stack.stub("metrics")
    found = await metrics.call("GetMetrics", metric_names=["load"])
    assert sorted((p.tags["host"], p.value, p.unit) for p in found.metrics) == [
        ("a", -2.0, "ms"), ("a", 1.0, "ms"), ("b", 3.0, "ms"),
    ]  # fmt: skip
    one = await metrics.call("GetMetrics", tag_filters={"host": "b"})
    assert [p.value for p in one.metrics] == [3.0]
    late = {"start": stamp(MINUTE_AGO + 1)}
    assert [p.value for p in (await metrics.call("GetMetrics", time_range=late)).metrics] == [-2.0]
    missing = await metrics.call("GetMetrics", metric_names=["load", "never"])
    assert missing.status.status == 2
    assert "never" in missing.status.message


async def test_aggregations(stack: Stack) -> None:
    await record(stack, *(point("load", value, at=MINUTE_AGO + i) for i, value in enumerate([4.0, -1.0, 3.0, 10.0])))
    metrics = stack.stub("metrics")
    expected = {"SUM": 16.0, "AVERAGE": 4.0, "MIN": -1.0, "MAX": 10.0, "COUNT": 4.0, "PERCENTILE": 3.0}
    for word, value in expected.items():
        kind = getattr(metrics.pb, f"AGGREGATION_TYPE_{word}")
        (found,) = (await metrics.call("GetMetrics", aggregation=kind)).metrics
        assert found.value == value
        assert (found.aggregation.count, found.aggregation.sum, found.aggregation.max) == (4, 16.0, 10.0)
        assert {p.percentile for p in found.aggregation.percentiles} == {50, 90, 95, 99}
    assert await metrics.fails("GetMetrics", aggregation=77) is grpc.StatusCode.INVALID_ARGUMENT


async def test_bad_points_are_refused_alone(stack: Stack) -> None:
    answer = await record(
        stack,
        point("good", 1.0),
        point("", 1.0),
        point("bad name", 1.0),
        point("nan", math.nan),
        point("inf", math.inf),
        point("far", 1.0, at=10**18),
        point("good", 2.0, tag=""),
        {**point("agg", 1.0), "aggregation": {"count": 1}},
    )
    assert (answer.recorded, answer.failed) == (2, 6)
    assert [error.metadata["index"] for error in answer.status.errors] == ["1", "2", "3", "4", "5", "7"]


async def test_a_stream_of_batches_is_summed_up(stack: Stack) -> None:
    metrics = stack.stub("metrics")
    batches = [
        metrics.pb.RecordMetricsRequest(metrics=[point("load", 1.0), {"name": "", "value": 1.0}]) for _ in range(20)
    ]
    answer = await metrics.call("RecordMetrics", iter(batches))
    assert (answer.recorded, answer.failed) == (20, 20)
    assert [int(error.metadata["index"]) for error in answer.status.errors] == list(range(1, 40, 2))


async def test_performance_cost_and_quality_of_what_was_fed_back(stack: Stack) -> None:
    await compare(stack)
    await stack.stub("feedback").call(
        "RecordFeedback", events=[event(1000, variant="a", error_type="timeout"), event(1001, variant="a")]
    )
    metrics = stack.stub("metrics", "readonly")
    performance = await metrics.call("GetPerformanceMetrics", services=["chat"])
    assert performance.metrics.total_requests == 62
    assert performance.metrics.error_rate == pytest.approx(1 / 62)
    assert performance.metrics.avg_latency_ms == pytest.approx(90)
    assert performance.metrics.p99_latency_ms == pytest.approx(100, rel=0.02)
    assert performance.metrics.throughput_qps == pytest.approx(62 / 60)
    assert "latency of 2 of 62 calls" in performance.status.message
    cost = (await metrics.call("GetCostMetrics")).metrics
    assert cost.total_cost == pytest.approx(0.9)
    assert dict(cost.cost_breakdown) == pytest.approx({"large": 0.6, "small": 0.3})
    assert (cost.input_tokens, cost.total_tokens) == (600, 600)
    quality = (await metrics.call("GetQualityMetrics")).metrics
    assert quality.overall_score == pytest.approx(0.9)
    assert math.isnan(quality.accuracy), "unknown is not zero"
    summary = (await metrics.call("GetMetricsSummary")).summary
    assert summary.performance == performance.metrics
    assert summary.cost == cost


async def test_nothing_is_never_zero(stack: Stack) -> None:
    metrics = stack.stub("metrics")
    answer = await metrics.call("GetPerformanceMetrics", services=["nobody"])
    assert (answer.metrics.total_requests, answer.status.status) == (0, 2)
    assert math.isnan(answer.metrics.avg_latency_ms)
    assert math.isnan(answer.metrics.error_rate)
    assert not answer.metrics.HasField("period_start")


async def test_time_ranges_are_honoured(stack: Stack) -> None:
    await compare(stack)
    await stack.stub("feedback").call(
        "RecordFeedback", events=[event(2000 + i, variant="a", at_s=-1800.0) for i in range(5)]
    )
    metrics = stack.stub("metrics")
    old = {"start": stamp(NOW - 2_400_000_000), "end": stamp(NOW - 1_200_000_000)}
    answer = await metrics.call("GetPerformanceMetrics", time_range=old)
    assert answer.metrics.total_requests == 5
    assert answer.metrics.period_start.seconds >= (NOW - 2_400_000_000) // 1_000_000 - 60
    wrong = {"start": stamp(NOW), "end": stamp(NOW - 1)}
    assert await metrics.fails("GetCostMetrics", time_range=wrong) is grpc.StatusCode.INVALID_ARGUMENT
    assert await metrics.fails("GetCostMetrics", granularity="soon") is grpc.StatusCode.INVALID_ARGUMENT


async def test_queries(stack: Stack) -> None:
    await compare(stack)
    metrics = stack.stub("metrics")
    results = (await metrics.call("QueryMetrics", query='avg(latency_ms{service="chat"}) by (variant)')).results
    assert {p.tags["variant"]: p.value for p in results} == pytest.approx({"a": 100.0, "b": 80.0})
    await record(stack, point("load", 2.0), point("load", 4.0))
    (load,) = (await metrics.call("QueryMetrics", query="sum(load)", step="1h")).results
    assert load.value == 6.0
    assert await metrics.fails("QueryMetrics", query="avg(") is grpc.StatusCode.INVALID_ARGUMENT
    assert await metrics.fails("QueryMetrics", query="load", step="x") is grpc.StatusCode.INVALID_ARGUMENT


async def test_exports(stack: Stack) -> None:
    await record(stack, point("load", 1.5, host="a,b"), point("other", 2.0))
    metrics = stack.stub("metrics")
    exported = await metrics.call("ExportMetrics", metric_names=["load"])
    (row,) = json.loads(exported.data)["metrics"]
    assert (row["name"], row["value"], row["tags"]) == ("load", 1.5, {"host": "a,b"})
    exported = await metrics.call("ExportMetrics", format="csv")
    rows = list(csv.DictReader(io.StringIO(exported.data.decode())))
    assert [(row["name"], float(row["value"])) for row in rows] == [("load", 1.5), ("other", 2.0)]
    assert json.loads(rows[0]["tags"]) == {"host": "a,b"}
    assert await metrics.fails("ExportMetrics", format="xml") is grpc.StatusCode.INVALID_ARGUMENT


async def test_analytics_by_dimension(stack: Stack) -> None:
    await compare(stack)
    metrics = stack.stub("metrics")
    rising = [event(3000 + i, variant="a", latency_ms=100.0 + 10 * i, at_s=-60.0 * (40 - i)) for i in range(39)]
    await stack.stub("feedback").call("RecordFeedback", events=rising)
    answer = (await metrics.call("GetMetricsAnalytics", dimensions=["variant", "model"])).analytics
    assert answer.request_count_by_dimension["variant=b"] == 30
    assert answer.cost_by_dimension["model=small"] == pytest.approx(0.3)
    assert answer.latency_by_dimension["variant=b"] == pytest.approx(80)
    latency = next(trend for trend in answer.trends if trend.metric_name == "latency_ms")
    assert (latency.direction, latency.confidence > 0.99) == ("up", True)
    assert await metrics.fails("GetMetricsAnalytics", dimensions=["colour"]) is grpc.StatusCode.INVALID_ARGUMENT


async def test_samples_are_streamed_as_they_arrive_and_by_filter(stack: Stack) -> None:
    metrics = stack.stub("metrics")
    everything = metrics.subscribed("SubscribeMetrics")
    some = metrics.subscribed("SubscribeMetrics", metric_names=["load"], tag_filters={"host": "b"}, services=["chat"])
    async with everything as one, some as two:
        await record(stack, point("load", 1.0, host="a"), point("cpu", 2.0, host="b"),
                     point("load", 3.0, host="b", service="chat"), point("load", 4.0, host="b"))  # fmt: skip
        assert [(await one.next()).metric.value for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
        only = await two.next()
        assert (only.metric.value, only.metric.unit, only.metric.timestamp.seconds) == (
            3.0,
            "ms",
            MINUTE_AGO // 1_000_000,
        )


async def test_with_an_interval_only_the_newest_comes(stack: Stack) -> None:
    metrics = stack.stub("metrics")
    async with metrics.subscribed("SubscribeMetrics", interval_secs=1) as replies:
        await record(stack, *(point("load", float(i), host=host) for i in range(10) for host in "ab"))
        assert [(await replies.next()).metric.value for _ in range(2)] == [9.0, 9.0]
    assert await metrics.fails("SubscribeMetrics", interval_secs=-1) is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_state_of_services_is_streamed_by_interval(stack: Stack) -> None:
    await compare(stack)
    await stack.stub("feedback").call("RecordFeedback", events=[event(9, variant="a", at_s=-0.1, cost_usd="0.5")])
    metrics = stack.stub("metrics")
    async with (
        metrics.subscribed("SubscribePerformanceMetrics", interval_secs=1) as performance,
        metrics.subscribed("SubscribeCostMetrics", services=["chat"], interval_secs=1) as cost,
    ):
        seen = [await performance.next() for _ in range(2)]
        assert [found.service for found in seen] == ["chat", "chat"]
        assert seen[0].metrics.total_requests > 0
        assert seen[1].timestamp.seconds > seen[0].timestamp.seconds
        assert (await cost.next()).metrics.total_cost > 0
    assert await metrics.fails("SubscribeCostMetrics", interval_secs=-5) is grpc.StatusCode.INVALID_ARGUMENT


async def test_alerts_are_streamed_by_filter(stack: Stack) -> None:
    metrics = stack.stub("metrics")
    everything = metrics.subscribed("SubscribeAlerts")
    some = metrics.subscribed("SubscribeAlerts", alert_types=["drift"], services=["chat"], severity_min="error")
    async with everything as one, some as two:
        for i, severity in enumerate(SEVERITIES):
            kind = "drift" if i else "budget"
            alert = Alert(
                alert_id=f"a{i}",
                alert_type=kind,
                severity=severity,
                metric="latency_ms",
                at=NOW + i,
                value=float(i),
                title="t",
                service="chat",
            )
            await stack.rooms.offices.alerts.raise_alert(alert)
        assert [(await one.next()).severity for _ in range(4)] == [1, 2, 3, 4]
        first = await two.next()
        assert (first.alert_id, first.trigger_metric.value, first.service) == ("a2", 2.0, "chat")
        assert (await two.next()).alert_id == "a3"
    assert await metrics.fails("SubscribeAlerts", severity_min="dire") is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_call_counts_for_the_variant_of_its_assignment(stack: Stack) -> None:
    await declare(stack)
    routing, feedback = stack.stub("routing"), stack.stub("feedback")
    decisions = [await routing.call("Decide", service="chat") for _ in range(10)]
    await feedback.call(
        "RecordFeedback", events=[event(i, assignment_id=d.assignment_id) for i, d in enumerate(decisions)]
    )
    analytics = (await stack.stub("metrics").call("GetMetricsAnalytics", dimensions=["variant"])).analytics
    counts = dict(analytics.request_count_by_dimension)
    assert counts == {f"variant={v}": n for v, n in Counter(d.variant for d in decisions).items()}
