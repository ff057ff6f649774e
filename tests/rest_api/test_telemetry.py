"""OTLP over HTTP: the OpenTelemetry SDK's own exporters, unmodified, and what no exporter would send."""

import gzip
import json
import time
from typing import Any

import httpx
import pytest
import trio
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from optimizer.model import ResourceExhausted, StorageUnavailable
from tests.collector.otlp.conftest import make_request, make_span
from tests.rest_api.conftest import NOW, SERVICE, Door, open_door

PROTOBUF = "application/x-protobuf"
TOKEN = {"authorization": "Bearer admin"}
END = (NOW - 1_000_000) * 1000


async def folded(api: httpx.AsyncClient, events: int, service: str = "chat") -> Any:
    """The service's report once so many events are in it."""
    with trio.fail_after(10):
        while True:
            report = (await api.get(f"/api/v1/services/{service}/report")).json()
            if report.get("totals", {}).get("events", 0) >= events:
                return report
            await trio.lowlevel.checkpoint()


def trace_calls(door: Door, compression: Compression) -> None:
    """An application that makes three calls, traced by the SDK."""
    exporter = OTLPSpanExporter(f"{door.url}/v1/traces", headers=TOKEN, compression=compression, timeout=5)
    provider = TracerProvider(resource=Resource.create({"service.name": "chat"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    outer = tracer.start_span("request", start_time=END - 10**9)
    for number in range(3):
        span = tracer.start_span("chat m1", start_time=END - 5 * 10**8)
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "m1",
                "gen_ai.usage.input_tokens": 100 + number,
                "gen_ai.usage.output_tokens": 7,
                "gen_ai.usage.cost.amount": 0.001,
            }
        )
        span.add_event(
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.value": 0.5},
            timestamp=END,
        )
        span.end(end_time=END)
    outer.end(end_time=END)
    provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
async def test_the_sdk_exporter_brings_calls_tokens_cost_and_scores_exactly(compression: Compression) -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        await trio.to_thread.run_sync(trace_calls, door, compression)
        report = await folded(api, 3)
        totals = report["totals"]
        assert (totals["events"], totals["input_tokens"], totals["output_tokens"]) == (3, 303, 21)
        assert (totals["cost_usd"], totals["quality"]["mean"]) == ("0.003", 0.5)
        assert report["variants"]["a"]["events"] == 3
        assert ("post_otlp_traces", 200) in door.done


async def test_a_service_that_nobody_declared_can_be_read_at_once() -> None:
    async with open_door() as door, door.client() as api:
        await trio.to_thread.run_sync(trace_calls, door, Compression.NoCompression)
        report = await folded(api, 3)
        assert report["totals"]["input_tokens"] == 303
        assert (await api.get("/api/v1/services/chat")).json()["mode"] == "fixed"
        await api.put("/api/v1/services/chat", json=SERVICE)
        await trio.to_thread.run_sync(trace_calls, door, Compression.NoCompression)
        report = await folded(api, 6)
        assert report["variants"]["a"]["events"] == 3


async def test_the_sdk_exports_metrics() -> None:
    def count(door: Door) -> None:
        exporter = OTLPMetricExporter(f"{door.url}/v1/metrics", headers=TOKEN, timeout=5)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], Resource.create({"service.name": "chat"}), shutdown_on_exit=False)
        provider.get_meter("test").create_counter("answers", unit="1").add(41)
        provider.shutdown()

    async with open_door(now=lambda: time.time_ns() // 1000) as door:
        await trio.to_thread.run_sync(count, door)
        assert ("post_otlp_metrics", 200) in door.done
        (entry,) = await door.store.read(0, 10)
        assert entry.key == "answers"


async def post(door: Door, body: bytes, content_type: str = PROTOBUF, **headers: str) -> httpx.Response:
    async with door.client() as api:
        told = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await api.post("/v1/traces", content=body, headers=told)


def spans(count: int, **fields: Any) -> bytes:
    """An export of calls a second before the door's time."""
    made = [make_span(i, start_time_unix_nano=END - 10**8, end_time_unix_nano=END, **fields) for i in range(1, count)]
    bad = make_span(count, end_time_unix_nano=0)
    return make_request(*made, bad).SerializeToString()


async def test_partial_success_is_told_in_the_sender_s_own_format() -> None:
    async with open_door() as door:
        answer = await post(door, spans(3))
        assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
        told = ExportTraceServiceResponse.FromString(answer.content).partial_success
        assert (told.rejected_spans, told.error_message) == (1, "has no end time")
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}
        answer = await post(door, json.dumps(body).encode(), "application/json; charset=utf-8")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "traceId is not hexadecimal"}}
        clean = await post(door, b'{"resourceSpans": []}', "application/json")
        assert (clean.status_code, clean.json()) == (200, {})


BOMB = gzip.compress(bytes(60 << 20))
BAD: list[tuple[bytes, dict[str, str], int]] = [
    (b"\x0a\x05x", {}, 400),
    (b"not protobuf at all", {}, 400),
    (b"{", {"content_type": "application/json"}, 400),
    (b"{}", {"content_type": "text/plain"}, 415),
    (b"{}", {"content_encoding": "br"}, 400),
    (b"plain", {"content_encoding": "gzip"}, 400),
    (BOMB, {"content_encoding": "gzip"}, 413),
    (bytes(5 << 20), {}, 413),
]


@pytest.mark.parametrize(("body", "headers", "status"), BAD, ids=range(len(BAD)))
async def test_a_body_that_cannot_be_read_is_refused_and_the_next_one_taken(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    async with open_door() as door:
        answer = await post(door, body, **headers)
        assert answer.status_code == status
        if status == 400 and "content_type" not in headers:
            assert Status.FromString(answer.content).code == 3
        assert (await post(door, spans(2))).status_code == 200


async def test_who_may_not_send_is_told_so() -> None:
    async with open_door() as door:
        for token, status in (("", 401), ("reader", 403)):
            async with door.client(token) as api:
                answer = await api.post("/v1/traces", content=b"", headers={"content-type": PROTOBUF})
                assert answer.status_code == status


@pytest.mark.parametrize(
    ("error", "status", "code"), [(StorageUnavailable("full"), 503, 14), (ResourceExhausted("busy"), 429, 8)]
)
async def test_what_may_be_tried_again_says_when(error: Exception, status: int, code: int) -> None:
    failing = True

    async def fail(moment: str) -> None:
        if moment == "before_append" and failing:
            raise error

    async with open_door(faults=fail) as door:
        answer = await post(door, spans(2))
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "1")
        assert Status.FromString(answer.content).code == code
        failing = False
        assert (await post(door, spans(2))).status_code == 200
