"""Protobuf's wire format, just enough to take a damaged message apart (protobuf.dev, "Encoding")."""

from collections.abc import Iterator

from google.protobuf.message import DecodeError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def split_message(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message, as (field number, content). Raises DecodeError when it is cut off."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _read_varint(data, at)
            if at + size > len(data):
                raise DecodeError("it is cut off")
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise DecodeError("it holds an unknown wire type")
    if at > len(data):
        raise DecodeError("it is cut off")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(data):
            raise DecodeError("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DecodeError("it holds a number of more than 64 bits")
