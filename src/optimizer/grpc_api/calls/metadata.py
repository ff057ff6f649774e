"""What travels in header fields: timeouts, messages, custom metadata (grpc/doc/PROTOCOL-HTTP2.md)."""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from multidict import MultiDict

Value = str | bytes
Metadata = MultiDict[Value]
MetadataLike = Mapping[str, Value] | Iterable[tuple[str, Value]]

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_KEY: Final = re.compile(r"[0-9a-z_.\-]+")
_VALUE: Final = re.compile(r"[ -~]*")
_RESERVED: Final = frozenset(
    {"te", "content-type", "user-agent", "connection", "transfer-encoding", "content-length", "host"}
)
_MESSAGE_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
MESSAGE_LIMIT: Final = 1_024  # of grpc-message after encoding; clients refuse header lists of 8 KiB and more


class Deadline:
    """A point in time on Trio's clock, with grpclib's interface."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at

    def time_remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - trio.current_time())


def decode_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`. Raises GRPCError INTERNAL when it is malformed."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise GRPCError(Status.INTERNAL, "malformed grpc-timeout")
    return int(match[1]) * _UNITS[match[2]]


def encode_message(message: str) -> str:
    """Percent-encode a status message; one that is too long is cut at a character."""
    encoded = quote(message, safe=_MESSAGE_SAFE)
    while len(encoded) > MESSAGE_LIMIT:
        message = message[: len(message) * (MESSAGE_LIMIT - 3) // len(encoded)]
        encoded = quote(message, safe=_MESSAGE_SAFE) + "..."
    return encoded


def decode_metadata(fields: Iterable[tuple[str, bytes]]) -> Metadata:
    """The custom metadata of a request.

    Raises:
        GRPCError: INTERNAL when a `-bin` value is not base64, as grpc-go answers.
    """
    metadata: Metadata = MultiDict()
    for key, value in fields:
        if key.startswith("grpc-") or key in _RESERVED:
            continue
        if key.endswith("-bin"):
            for part in value.split(b","):  # several values may have been joined on the way
                metadata.add(key, decode_binary(part.strip()))
        else:
            metadata.add(key, value.decode("latin-1"))
    return metadata


def decode_binary(value: bytes) -> bytes:
    """Bytes of a `-bin` value, padded or not."""
    try:
        return b64decode(value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4), validate=True)
    except binascii.Error as error:
        raise GRPCError(Status.INTERNAL, "malformed binary metadata") from error


def encode_binary(value: bytes) -> str:
    """Unpadded base64, as the protocol asks senders to write it."""
    return b64encode(value).rstrip(b"=").decode("ascii")


def encode_metadata(metadata: MetadataLike) -> list[tuple[str, str]]:
    """Header fields of custom metadata.

    Raises:
        ValueError: a key or a value that may not be sent.
        TypeError: text under a `-bin` key, or bytes under another.
    """
    pairs = metadata.items() if isinstance(metadata, Mapping) else metadata
    fields = []
    for key, value in pairs:
        if key in _RESERVED or key.startswith("grpc-") or not _KEY.fullmatch(key):
            raise ValueError(f"invalid metadata key: {key!r}")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"metadata {key!r}: bytes expected")
            fields.append((key, encode_binary(value)))
        else:
            if not isinstance(value, str):
                raise TypeError(f"metadata {key!r}: text expected")
            if not _VALUE.fullmatch(value):
                raise ValueError(f"invalid metadata value: {value!r}")
            fields.append((key, value))
    return fields
