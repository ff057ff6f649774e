"""OTLP over gRPC: the OpenTelemetry SDK's own exporter, unmodified, and what no exporter would send."""

from typing import Any

import grpc
import pytest
import trio
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from optimizer.collector.otlp import Signal
from optimizer.grpc_api.services.telemetry import PATHS
from tests.collector.otlp.conftest import make_request, make_span
from tests.grpc_api.services.conftest import NOW, Stack
from tests.grpc_api.services.declared import declare, folded

END = (NOW - 1_000_000) * 1000
ADMIN = [("authorization", "Bearer admin")]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_the_sdk_exporter_brings_calls_tokens_cost_and_scores_exactly(
    stack: Stack, compression: grpc.Compression
) -> None:
    def trace_calls() -> None:
        exporter = OTLPSpanExporter(
            f"127.0.0.1:{stack.port}", insecure=True, headers=ADMIN, compression=compression, timeout=5
        )
        provider = TracerProvider(resource=Resource.create({"service.name": "chat"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for number in range(3):
            span = tracer.start_span("ChatCompletion", start_time=END - 5 * 10**8)
            span.set_attributes(
                {
                    "openinference.span.kind": "LLM",
                    "llm.model_name": "small",
                    "llm.token_count.prompt": 100 + number,
                    "llm.token_count.completion": 7,
                    "llm.cost.total": 0.001,
                    "annotations.0.annotation.name": "quality",
                    "annotations.0.annotation.score": 0.25,
                    "annotations.0.annotation.annotator_kind": "LLM",
                }
            )
            span.end(end_time=END)
        provider.shutdown()

    await declare(stack)
    await trio.to_thread.run_sync(trace_calls)
    await folded(stack)
    report = stack.rooms.processor.get().registry.report("chat")
    totals: Any = report["totals"]
    assert (totals["events"], totals["input_tokens"], totals["output_tokens"]) == (3, 303, 21)
    assert (totals["cost_usd"], totals["quality"]["mean"]) == ("0.003", 0.25)
    variants: Any = report["variants"]
    assert variants["b"]["events"] == 3  # by the model


async def send(stack: Stack, body: bytes) -> Any:
    """One raw Export: the reply's bytes, or the error."""

    def run() -> Any:
        channel: Any = stack.channel
        call = channel.unary_unary(PATHS[Signal.TRACES])
        try:
            return call(body, timeout=5, metadata=ADMIN)
        except grpc.RpcError as error:
            return error

    return await trio.to_thread.run_sync(run)


def spans(**fields: Any) -> bytes:
    good = make_span(1, start_time_unix_nano=END - 10**8, end_time_unix_nano=END)
    return make_request(good, make_span(2, **fields)).SerializeToString()


async def test_one_damaged_span_is_told_and_the_rest_is_kept(stack: Stack) -> None:
    body = spans(name="MARKER").replace(b"MARKER", b"\xff" * 6)
    told = ExportTraceServiceResponse.FromString(await send(stack, body)).partial_success
    assert (told.rejected_spans, "UTF-8" in told.error_message) == (1, True)
    await folded(stack)
    totals: Any = stack.rooms.processor.get().registry.report("chat")["totals"]
    assert totals["events"] == 1


@pytest.mark.parametrize("body", [b"\x0a\x05x", b"not protobuf", b"\x0b"])
async def test_a_body_that_cannot_be_read_is_refused_and_the_next_one_taken(stack: Stack, body: bytes) -> None:
    assert (await send(stack, body)).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(await send(stack, spans(end_time_unix_nano=END)), bytes)


async def test_overload_says_when_to_try_again(stack: Stack) -> None:
    with stack.rooms.intake.get().reading(64 << 20):
        error = await send(stack, spans())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    retry = RetryInfo()
    assert Status.FromString(details).details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1
