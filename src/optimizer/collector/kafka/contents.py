"""What a record holds: feedback items in JSON or protobuf, scores, or an OTLP export.

The header `content-type` decides where it is set. Without it JSON is known by its first character, OTLP in protobuf by
trace and span ids of their exact lengths; what is left is taken for a `RecordFeedbackRequest`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from optimizer.collector.otlp import Media, Signal
from optimizer.model import InvalidArgument

LARGEST = 4 << 20  # bytes of a record, as of a request body

FEEDBACK_TYPE = "application/x-protobuf"
OTLP_TYPES = {f"application/x-otlp-{signal.value}": signal for signal in Signal}
_JSON_NAMES = {"resourceSpans": Signal.TRACES, "resourceLogs": Signal.LOGS, "resourceMetrics": Signal.METRICS}

ReadProtobuf = Callable[[bytes], Sequence[object]]
"""A `RecordFeedbackRequest` as items of the intake. Raises InvalidArgument."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Items for the intake's doors; an OTLP export stays a body, which is read item by item later."""

    calls: Sequence[object] = ()
    scores: Sequence[object] = ()
    export: tuple[Signal, Media] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A record as it came. `headers` hold the first of each name."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


def read_contents(record: Taken, read_protobuf: ReadProtobuf) -> Contents:
    """What is in the record. Raises InvalidArgument when that cannot be told or it cannot be read."""
    value = record.value
    if not value:
        raise InvalidArgument("the record is empty")
    if len(value) > LARGEST:
        raise InvalidArgument(f"the record has {len(value)} bytes; at most {LARGEST}")
    kind = record.headers.get("content-type", b"").decode("ascii", "replace").partition(";")[0].strip().lower()
    if kind in OTLP_TYPES:
        return Contents(export=(OTLP_TYPES[kind], Media.PROTOBUF))
    if kind == FEEDBACK_TYPE:
        return Contents(calls=read_protobuf(value))
    if kind == Media.JSON.value or (not kind and value.lstrip()[:1] in (b"{", b"[")):
        return _read_json(value)
    if kind:
        known = ", ".join([Media.JSON.value, FEEDBACK_TYPE, *OTLP_TYPES])
        raise InvalidArgument(f"content-type {kind[:60]!r} is not known; known are {known}")
    signal = _recognise(value)
    return Contents(calls=read_protobuf(value)) if signal is None else Contents(export=(signal, Media.PROTOBUF))


def _read_json(value: bytes) -> Contents:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the record is not JSON: {error}") from error
    if isinstance(parsed, list):
        return Contents(calls=parsed)
    if not isinstance(parsed, dict):
        raise InvalidArgument("the record is neither a JSON object nor a list of them")
    for name, signal in _JSON_NAMES.items():
        if name in parsed:
            return Contents(export=(signal, Media.JSON))
    calls, scores = parsed.get("events"), parsed.get("scores")
    if calls is not None or scores is not None:
        if not all(each is None or isinstance(each, list) for each in (calls, scores)):
            raise InvalidArgument("events and scores are lists")
        return Contents(calls=calls or (), scores=scores or ())
    return Contents(scores=[parsed]) if "score_id" in parsed else Contents(calls=[parsed])


def _recognise(value: bytes) -> Signal | None:
    """The signal of an OTLP export in protobuf; None for something else. Logs need the header: nothing marks them."""
    try:
        traces = ExportTraceServiceRequest.FromString(value)
        for span in (s for r in traces.resource_spans for scope in r.scope_spans for s in scope.spans):
            if len(span.trace_id) == 16 and len(span.span_id) == 8:
                return Signal.TRACES
    except DecodeError:
        pass  # then it is no trace, or a damaged one, which only its header could tell
    try:
        metrics = ExportMetricsServiceRequest.FromString(value)
        for metric in (m for r in metrics.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
            if metric.name and metric.WhichOneof("data") is not None:
                return Signal.METRICS
    except DecodeError:
        pass
    return None
