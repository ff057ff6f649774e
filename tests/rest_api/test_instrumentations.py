"""Unmodified instrumentations around an unmodified OpenAI client and a stub of its endpoint: exact calls, tokens, cost.

An application adds no code of ours: it instruments its client and points the exporter at the REST port.
"""

import json
import time
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from typing import Any

import openai
import pytest
import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from optimizer.collector import Pricer
from optimizer.core.pricing import Prices, read_table
from tests.rest_api.conftest import SERVICE, Door, open_door
from tests.rest_api.test_telemetry import TOKEN, folded

PRICES = """
[[price]]
model = "stub-1"
input = 2.00
output = 8.00
cache_read = 0.50
"""
USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 50,
    "total_tokens": 1_050,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_780_000_000,
    "model": "stub-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "secret answer"}}],
    "usage": USAGE,
}
CALLS = 5
DIALECTS = {
    "opentelemetry.instrumentation.genai.openai": ("otel",),
    "openinference.instrumentation.openai": ("openinference",),
    "opentelemetry.instrumentation.openai": ("openllmetry",),
}


async def answer(stream: trio.SocketStream) -> None:
    """A chat completion for any request."""
    received = b""
    async with stream:
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(65_536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += await stream.receive_some(65_536)
        content = json.dumps(ANSWER).encode()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(content), content)
        )


def converse(door: Door, port: int, instrumentor: Any) -> None:
    """The application: five calls of its model."""
    exporter = OTLPSpanExporter(f"{door.url}/v1/traces", headers=TOKEN, timeout=5)
    provider = TracerProvider(resource=Resource.create({"service.name": "chat"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    try:
        with openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=5) as client:
            for _ in range(CALLS):
                client.chat.completions.create(model="stub-1", messages=[{"role": "user", "content": "secret"}])
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:opentelemetry", "ignore::DeprecationWarning:openinference")
@pytest.mark.parametrize("package", DIALECTS)
async def test_calls_tokens_and_cost_arrive_exactly(
    package: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACELOOP_TRACE_CONTENT", "true")
    make: Callable[[], Any] = import_module(package).OpenAIInstrumentor
    pricer = Pricer(Prices(read_table(PRICES, "test"), use_bundled=False))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, listeners)
    port = listeners[0].socket.getsockname()[1]
    async with open_door(now=lambda: time.time_ns() // 1000, price=pricer) as door, door.client() as api:
        declared = {**SERVICE, "variants": [{"name": "a", "config": {"model": "stub-1"}}, {"name": "b"}]}
        assert (await api.put("/api/v1/services/chat", json=declared)).status_code == 200
        await trio.to_thread.run_sync(converse, door, port, make())
        report = await folded(api, CALLS)
        totals = report["totals"]
        assert totals["events"] == CALLS
        assert (totals["input_tokens"], totals["output_tokens"]) == (CALLS * 1_000, CALLS * 50)
        # 600 fresh at 2 dollars a million, 400 from the cache at half a dollar, 50 answered at 8.
        assert Decimal(totals["cost_usd"]) == CALLS * Decimal("0.0018")
        assert report["variants"]["a"]["events"] == CALLS
        events = await stored_calls(door)
        assert {event.dialect for event in events} <= set(DIALECTS[package])
        assert {(e.model, e.provider, e.error_type, e.cost_source) for e in events} == {
            ("stub-1", "openai", None, "priced")
        }
        assert all(event.latency_ms is not None and event.latency_ms > 0 for event in events)
        assert "secret" not in str(events)
    nursery.cancel_scope.cancel()


async def stored_calls(door: Door) -> list[Any]:
    """The calls in the log."""
    from optimizer.core import records

    entries = await door.store.read(0, 1_000)
    return [records.decode_feedback(entry.payload) for entry in entries if entry.kind == records.FEEDBACK]
