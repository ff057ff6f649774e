"""From OTLP spans and log records to calls and scores."""

import re
from typing import Any

from msgspec.structs import replace

from optimizer.collector.otlp.values import read_attributes
from optimizer.core.assignment import parse
from optimizer.core.dialects import EVALUATION, Span, SpanEvent, read_call, read_evaluation, read_scores
from optimizer.model import FeedbackEvent, InvalidArgument, Score

EVENTS = 256  # events of one span that are looked at: a streamed answer may have one for each piece
LINKS = 32
LONGEST_US = 86_400_000_000
"""A call that takes longer than a day does not exist: its start is wrong, and its latency is unknown."""

_OWN_SERVICE = ("llm_optimizer.service", "optimizer.service")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._:-]")
_STATUS_ERROR = 2


def read_span(
    raw: Any, resource: dict[str, object], *, received_at: int, keep_content: bool
) -> tuple[list[FeedbackEvent | Score], tuple[str, ...]]:
    """The call and the scores in a span (none for a span about something else), and why scores were left out.

    Raises: InvalidArgument for a span that cannot be told apart from others or says too much.
    """
    attributes = read_attributes(raw.attributes, len(raw.attributes))
    span = Span(
        trace_id=raw.trace_id.hex(),
        span_id=raw.span_id.hex(),
        start=raw.start_time_unix_nano // 1000,
        end=raw.end_time_unix_nano // 1000,
        attributes=attributes,
        resource=resource,
        name=raw.name,
        failed=raw.status.code == _STATUS_ERROR,
        events=[_read_event(event) for event in raw.events[:EVENTS]],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in raw.links[:LINKS]],
    )
    call = read_call(span, received_at=received_at, keep_content=keep_content)
    judged = read_scores(span, received_at=received_at)
    if call is None and not judged.scores:
        return [], judged.refused
    _check_ids(raw.trace_id, raw.span_id)
    found: list[FeedbackEvent | Score] = list(judged.scores)
    if call is not None:
        if not raw.end_time_unix_nano:
            raise InvalidArgument("has no end time", field="endTimeUnixNano")
        found.insert(0, _complete(call, span))
    return found, judged.refused


def read_record(
    raw: Any, resource: dict[str, object], *, received_at: int
) -> tuple[list[FeedbackEvent | Score], tuple[str, ...]]:
    """The score in a log record that is an evaluation; nothing for any other."""
    del resource  # an evaluation finds its call by its ids
    attributes = read_attributes(raw.attributes, len(raw.attributes))
    if EVALUATION not in (raw.event_name, attributes.get("event.name")):
        return [], ()
    if raw.span_id or raw.trace_id:
        _check_ids(raw.trace_id, raw.span_id)
    time = (raw.time_unix_nano or raw.observed_time_unix_nano) // 1000 or received_at
    event = SpanEvent(name=EVALUATION, time=time, attributes=attributes)
    judged = read_evaluation(event, trace_id=raw.trace_id.hex(), span_id=raw.span_id.hex(), received_at=received_at)
    return list(judged.scores), judged.refused


def service_name(name: str) -> str:
    """The name as services are called here: other characters than letters, digits and ._:- become a hyphen."""
    clean = _NOT_IN_NAMES.sub("-", name)[:128]
    return clean if clean[:1].isalnum() or not clean else f"s{clean}"[:128]


def _complete(call: FeedbackEvent, span: Span) -> FeedbackEvent:
    """The call with its service worked out, and without a latency that cannot be."""
    service = call.service
    if call.assignment_id is not None and not any(
        name in source for source in (span.attributes, span.resource) for name in _OWN_SERVICE
    ):
        try:
            service = parse(call.assignment_id).service  # the decision says whose call it was; the intake verifies it
        except InvalidArgument:
            service = call.service  # the intake refuses the id and says why
    latency = call.latency_ms if 0 <= span.end - span.start <= LONGEST_US else None
    return replace(call, service=service_name(service), latency_ms=latency)


def _read_event(raw: Any) -> SpanEvent:
    wanted = raw.name == EVALUATION or raw.name == "exception"
    attributes = read_attributes(raw.attributes, len(raw.attributes)) if wanted else {}
    return SpanEvent(name=raw.name, time=raw.time_unix_nano // 1000, attributes=attributes)


def _check_ids(trace_id: bytes, span_id: bytes) -> None:
    if len(trace_id) != 16 or not any(trace_id):
        raise InvalidArgument("the trace id is not 16 bytes with one that is not zero", field="traceId")
    if len(span_id) != 8 or not any(span_id):
        raise InvalidArgument("the span id is not 8 bytes with one that is not zero", field="spanId")
