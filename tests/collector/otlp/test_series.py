"""OTLP metrics on their way into the log: one sample for each number, counted once however often it is sent."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from optimizer.collector.otlp import Media, Outcome, Signal, export
from tests.collector.otlp.conftest import NOW, Room, make_attributes, open_room

AT = (NOW - 1_000_000) * 1000


async def send(room: Room, *metrics: Metric) -> Outcome:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.extend(make_attributes({"service.name": "chat"}))
    group.scope_metrics.add().metrics.extend(metrics)
    return await export(room.intake, Signal.METRICS, request.SerializeToString(), Media.PROTOBUF)


def gauge(*values: Any, name: str = "queue.depth", **fields: Any) -> Metric:
    points = [
        NumberDataPoint(time_unix_nano=AT, as_double=v, attributes=make_attributes({"n": i}), **fields)
        for i, v in enumerate(values)
    ]
    return Metric(name=name, unit="1", gauge=Gauge(data_points=points))


async def test_every_kind_of_metric_gives_its_numbers() -> None:
    total = NumberDataPoint(time_unix_nano=AT, as_int=7, attributes=make_attributes({"model": "m"}))
    spread = HistogramDataPoint(
        time_unix_nano=AT, count=3, sum=1.5, min=0.25, max=1.0, bucket_counts=[1, 2], explicit_bounds=[0.5]
    )
    quantile = SummaryDataPoint.ValueAtQuantile(quantile=0.95, value=9.0)
    metrics = [
        gauge(4.5),
        Metric(name="tokens", sum=Sum(data_points=[total], aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE)),
        Metric(name="took", unit="s", histogram=Histogram(data_points=[spread])),
        Metric(name="old", summary=Summary(data_points=[SummaryDataPoint(time_unix_nano=AT, count=2, sum=3.0,
                                                                          quantile_values=[quantile])])),
    ]  # fmt: skip
    async with open_room() as room:
        outcome = await send(room, *metrics)
        assert (outcome.refused, outcome.message) == (0, "")
        found = {(s.name, s.tags.get("quantile", "")): s for s in await room.samples()}
        assert {key: sample.value for key, sample in found.items()} == {
            ("queue.depth", ""): 4.5,
            ("tokens", ""): 7.0,
            ("took.count", ""): 3.0,
            ("took.sum", ""): 1.5,
            ("took.min", ""): 0.25,
            ("took.max", ""): 1.0,
            ("old.count", ""): 2.0,
            ("old.sum", ""): 3.0,
            ("old", "0.95"): 9.0,
        }
        assert found["tokens", ""].tags == {"service": "chat", "temporality": "cumulative", "model": "m"}
        assert (found["took.sum", ""].unit, found["took.sum", ""].timestamp) == ("s", AT // 1000)
        again = await send(room, *metrics)
        assert (again.taken, again.duplicates) == (0, 9)


async def test_bad_points_are_refused_and_the_others_kept() -> None:
    missing = Metric(name="m", gauge=Gauge(data_points=[NumberDataPoint(time_unix_nano=AT)]))
    timeless = Metric(name="m", gauge=Gauge(data_points=[NumberDataPoint(as_double=1.0)]))
    async with open_room() as room:
        outcome = await send(
            room, gauge(1.0, float("nan"), float("inf"), 2.0), missing, timeless, gauge(1.0, name="no spaces"),
            gauge(1.0, name="gone", flags=1), Metric(name="empty"),
        )  # fmt: skip
        assert (outcome.taken, outcome.refused, outcome.ignored) == (2, 5, 2)
        for reason in ("not a finite number", "without a value", "without a time", "odd characters"):
            assert reason in outcome.message


@pytest.mark.parametrize("count", [1, 40])
async def test_tags_are_bounded(count: int) -> None:
    point = NumberDataPoint(
        time_unix_nano=AT, as_double=1.0, attributes=make_attributes({f"t{i:02}": "x" * 999 for i in range(count)})
    )
    async with open_room() as room:
        assert (await send(room, Metric(name="m", gauge=Gauge(data_points=[point])))).taken == 1
        (sample,) = await room.samples()
        assert len(sample.tags) == min(count + 1, 15)
        assert all(len(text) <= 256 for text in sample.tags.values())


async def test_json_points_with_exemplars_are_read() -> None:
    point = {
        "timeUnixNano": str(AT),
        "asInt": "5",
        "exemplars": [{"traceId": "00" * 15 + "01", "spanId": "zz", "asInt": "5"}],
    }
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [point]}}]}]}]}
    async with open_room() as room:
        outcome = await export(room.intake, Signal.METRICS, json.dumps(body).encode(), Media.JSON)
        assert (outcome.taken, outcome.message) == (1, "")
        assert [sample.value for sample in await room.samples()] == [5.0]
