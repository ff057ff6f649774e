"""OTLP's attribute values as plain values, bounded."""

from collections.abc import Iterable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from optimizer.model import InvalidArgument

ATTRIBUTES = 1_000
"""Attributes of one span, record or resource: the SDKs' own limit is 128, so more is no telemetry of a call."""

ELEMENTS = 128  # of a list or a map among the values; longer ones are contents, and dropped


def read_attributes(attributes: Iterable[KeyValue], count: int) -> dict[str, object]:
    """Attributes by name; the first of a repeated name stays. Raises InvalidArgument beyond the bound."""
    if count > ATTRIBUTES:
        raise InvalidArgument(f"has {count} attributes; at most {ATTRIBUTES}", field="attributes")
    found: dict[str, object] = {}
    for attribute in attributes:
        found.setdefault(attribute.key, read_value(attribute.value))
    return found


def read_value(value: AnyValue) -> object:
    """Text, number, boolean, a list of such or a map to such; None for bytes, for nothing, and for what is too deep."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        values = value.array_value.values
        return [_read_scalar(each) for each in values] if len(values) <= ELEMENTS else None
    if kind == "kvlist_value":
        pairs = value.kvlist_value.values
        members: Mapping[str, object] = {pair.key: _read_scalar(pair.value) for pair in pairs}
        return members if len(pairs) <= ELEMENTS else None
    return _read_scalar(value)


def _read_scalar(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return value.double_value
    return value.bool_value if kind == "bool_value" else None
