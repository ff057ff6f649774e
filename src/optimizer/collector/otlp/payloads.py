"""OTLP request bodies, protobuf and JSON, as groups of items that share a resource.

A body that is no request at all is refused whole. Inside one, an item that cannot be read (text that is not UTF-8, a
damaged message) is left out with its reason and the others are kept, which protobuf's own parser does not do.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from optimizer.collector.otlp.wire import split_message
from optimizer.model import InvalidArgument

_IDS = (("traceId", "trace_id"), ("spanId", "span_id"), ("parentSpanId", "parent_span_id"))


class Media(Enum):
    """How a body is written."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


class Signal(Enum):
    """The kinds of telemetry; the value is the last part of the HTTP path."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class _Shape:
    """The messages of a signal, and what its three levels are called: resource groups, scope groups, items."""

    request: type[Any]
    item: type[Any]
    groups: str
    scopes: str
    items: str


_SHAPES = {
    Signal.TRACES: _Shape(ExportTraceServiceRequest, Span, "resource_spans", "scope_spans", "spans"),
    Signal.LOGS: _Shape(ExportLogsServiceRequest, LogRecord, "resource_logs", "scope_logs", "log_records"),
    Signal.METRICS: _Shape(ExportMetricsServiceRequest, Metric, "resource_metrics", "scope_metrics", "metrics"),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Items of one resource, each a protobuf message of its signal."""

    resource: Resource
    items: list[Any]


@dataclass(slots=True)
class Payload:
    """What could be read, and why the rest could not."""

    groups: list[Group] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def read_payload(signal: Signal, body: bytes, media: Media) -> Payload:
    """The items of a request. Raises InvalidArgument when the body is no such request."""
    shape = _SHAPES[signal]
    if media is Media.JSON:
        return _read_json(shape, body)
    try:
        request = shape.request.FromString(body)
    except DecodeError:
        return _salvage(shape, body)
    payload = Payload()
    for group in getattr(request, shape.groups):
        items = [item for scope in getattr(group, shape.scopes) for item in getattr(scope, shape.items)]
        payload.groups.append(Group(group.resource, items))
    return payload


def _salvage(shape: _Shape, body: bytes) -> Payload:
    """Read a damaged request piece by piece; all three levels have the parts that matter in fields 1 and 2."""
    payload = Payload()
    try:
        groups = [piece for number, piece in split_message(body) if number == 1]
    except DecodeError as error:
        raise InvalidArgument(f"the body is not an {shape.request.__name__}: {error}") from error
    for raw in groups:
        try:
            parts = list(split_message(raw))
            resource = Resource()
            for number, piece in parts:
                if number == 1:
                    resource.MergeFromString(piece)
            scopes = [list(split_message(piece)) for number, piece in parts if number == 2]
        except DecodeError as error:
            payload.refused.append(f"a damaged group: {error}")
            continue
        group = Group(resource, [])
        for piece in (piece for scope in scopes for number, piece in scope if number == 2):
            try:
                group.items.append(shape.item.FromString(piece))
            except DecodeError:
                payload.refused.append("a damaged item, or text that is not UTF-8")
        payload.groups.append(group)
    return payload


def _read_json(shape: _Shape, body: bytes) -> Payload:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body is not a JSON object")
    payload = Payload()
    for group in _members(parsed, shape.groups):
        try:
            resource = _parse(group.get("resource") or {}, Resource())
        except InvalidArgument as error:
            payload.refused.append(f"a damaged resource: {error}")
            continue
        found = Group(resource, [])
        for scope in _members(group, shape.scopes):
            for item in _members(scope, shape.items):
                try:
                    found.items.append(_parse(_prepare(item), shape.item()))
                except InvalidArgument as error:
                    payload.refused.append(str(error))
        payload.groups.append(found)
    return payload


def _members(parent: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The objects of a list, by its JSON name or its protobuf name. Raises InvalidArgument when it is no such list."""
    first, *others = name.split("_")
    camel = first + "".join(part.capitalize() for part in others)
    found = parent.get(camel, parent.get(name, []))
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InvalidArgument(f"{camel!r} is not a list of objects", field=camel)
    yield from found


def _prepare(item: dict[str, Any]) -> dict[str, Any]:
    """The item as protobuf's JSON mapping wants it: OTLP writes ids in hexadecimal, the mapping takes base64."""
    ready = dict(item)
    _convert_ids(ready)
    links = ready.get("links")
    if isinstance(links, list):
        ready["links"] = [dict(link) for link in links if isinstance(link, dict)]
        for link in ready["links"]:
            _convert_ids(link)
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary"):
        if isinstance(data := ready.get(kind), dict) and isinstance(points := data.get("dataPoints"), list):
            plain = [{k: v for k, v in p.items() if k != "exemplars"} if isinstance(p, dict) else p for p in points]
            ready[kind] = {**data, "dataPoints": plain}
    return ready


def _convert_ids(target: dict[str, Any]) -> None:
    for names in _IDS:
        for name in names:
            if (value := target.get(name)) is None:
                continue
            try:
                target[name] = base64.b64encode(binascii.unhexlify(value)).decode()
            except (binascii.Error, ValueError, TypeError) as error:
                raise InvalidArgument(f"{names[0]} is not hexadecimal", field=names[0]) from error


def _parse(value: Any, target: Any) -> Any:
    try:
        parsed: Message = ParseDict(value, target, ignore_unknown_fields=True)
    except (ParseError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidArgument(f"not an OTLP {target.DESCRIPTOR.name}: {str(error)[:200]}") from error
    return parsed
