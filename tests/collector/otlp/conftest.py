"""Exports built by hand, and an intake over a memory store that takes them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from optimizer.collector import Bounds, Intake, Rules
from optimizer.collector.schema import micros
from optimizer.core import records
from optimizer.model import FeedbackEvent, Listing, MetricSample, Objective, Score, Service, Variant
from optimizer.storage import Store
from optimizer.storage.memory import FaultHook, MemoryState, open_memory

KEY = b"k" * 32
NOW = micros(datetime(2026, 6, 1, tzinfo=UTC))
VARIANTS = (
    Variant(name="large", config={"model": "big-1"}),
    Variant(name="small", config={"model": "small-1"}),
    Variant(name="here", config={"model": "twin", "provider": "openai"}),
    Variant(name="there", config={"model": "twin", "provider": "azure.ai.openai"}),
)
CHAT = Service(name="chat", objective=Objective(goal="minimize_cost"), variants=VARIANTS, baseline="large")
CALL: Mapping[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "small-1",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 3,
}


def unpriced(event: FeedbackEvent) -> FeedbackEvent:
    """No price table."""
    return event


@dataclass
class Room:
    """An intake, its log, and what it counted."""

    store: Store
    intake: Intake
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    async def log(self) -> list[Any]:
        """Everything durable, decoded, in order."""
        decoders = {
            records.FEEDBACK: records.decode_feedback,
            records.SCORE: records.decode_score,
            records.METRIC: records.decode_metric,
            records.SERVICE: records.decode_declared,
        }
        return [decoders[entry.kind](entry.payload) for entry in await self.store.read(0, 20_000)]

    async def calls(self) -> list[FeedbackEvent]:
        """The calls."""
        return [each for each in await self.log() if isinstance(each, FeedbackEvent)]

    async def scores(self) -> list[Score]:
        """The scores."""
        return [each for each in await self.log() if isinstance(each, Score)]

    async def samples(self) -> list[MetricSample]:
        """The samples."""
        return [each for each in await self.log() if isinstance(each, MetricSample)]


@asynccontextmanager
async def open_room(
    *, rules: Rules | None = None, pending: int = 10_000, faults: FaultHook | None = None
) -> AsyncIterator[Room]:
    """A room with the service "chat"."""
    listings = {"chat": Listing(CHAT, frozenset(variant.name for variant in VARIANTS))}
    counts: dict[tuple[str, str], int] = {}

    def count(source: str, result: str, number: int) -> None:
        counts[source, result] = counts.get((source, result), 0) + number

    async with open_memory(MemoryState(), faults=faults) as store:
        bounds = Bounds(pending=pending, batch=10_000, future_us=300_000_000, past_us=366 * 86_400_000_000)
        intake = Intake(
            store, lambda: listings, keys=(KEY,), price=unpriced, now=lambda: NOW, bounds=bounds, rules=rules,
            count=count,
        )  # fmt: skip
        yield Room(store, intake, counts)


def make_value(value: object) -> AnyValue:
    """A plain value as OTLP has it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    found = AnyValue()
    if isinstance(value, Mapping):
        found.kvlist_value.values.extend(make_attributes(value))
    elif isinstance(value, list):
        found.array_value.values.extend(map(make_value, value))
    else:
        found.string_value = str(value)
    return found


def make_attributes(attributes: Mapping[str, object]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=name, value=make_value(value)) for name, value in attributes.items()]


def make_span(number: int, attributes: Mapping[str, object] = CALL, **fields: Any) -> Span:
    """Span number so-and-so; it ended a minute ago and took 250 ms."""
    end = (NOW - 60_000_000) * 1000
    told = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": "chat",
        "start_time_unix_nano": end - 250_000_000,
        "end_time_unix_nano": end,
        "attributes": make_attributes(attributes),
        **fields,
    }
    return Span(**told)


def make_request(*spans: Span, resource: Mapping[str, object] | None = None) -> ExportTraceServiceRequest:
    """An export of one resource, "chat" unless told otherwise."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(make_attributes({"service.name": "chat"} if resource is None else resource))
    group.scope_spans.add().spans.extend(spans)
    return request
