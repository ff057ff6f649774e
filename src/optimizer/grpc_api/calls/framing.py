"""gRPC's length-prefixed messages, plain and gzip (grpc/doc/PROTOCOL-HTTP2.md, compression.md)."""

import struct
import zlib
from typing import Final, Protocol, Self, TypeVar

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.exceptions import GRPCError

PREFIX: Final = struct.Struct(">BI")
PREFIX_SIZE: Final = PREFIX.size
ACCEPTED: Final = "identity,gzip"
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's way to say gzip
_LEVEL: Final = 1  # the wire is rarely the bottleneck, the one core is


class Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802  # protobuf's name

    @classmethod
    def FromString(cls, data: bytes, /) -> Self: ...  # noqa: N802  # protobuf's name


class Frame(bytes):
    """A message that is already encoded with its prefix: made once, sent to any number of subscribers."""

    __slots__ = ()


def encode_frame(message: Message) -> Frame:
    """Encode a message for `Stream.send_message`, uncompressed."""
    payload = message.SerializeToString()
    return Frame(PREFIX.pack(0, len(payload)) + payload)


def encode_gzip(message: Message) -> Frame:
    """The same, compressed."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    payload = packer.compress(message.SerializeToString()) + packer.flush()
    return Frame(PREFIX.pack(1, len(payload)) + payload)


def check_size(size: int, limit: int) -> None:
    """Raises GRPCError RESOURCE_EXHAUSTED when a message is larger than the limit."""
    if size > limit:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes is larger than the limit of {limit} bytes"
        )


def unpack(payload: bytes, encoding: bytes, limit: int) -> bytes:
    """What a compressed message contains, at most `limit` bytes.

    Raises:
        GRPCError: INTERNAL when it is damaged or the call named no compression, RESOURCE_EXHAUSTED when too large.
    """
    if encoding != b"gzip":
        raise GRPCError(Status.INTERNAL, "a message is marked as compressed, but the call names no compression")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(payload, limit + 1)
    except zlib.error as error:
        raise GRPCError(Status.INTERNAL, "a compressed message cannot be unpacked") from error
    check_size(len(plain), limit)
    if not unpacker.eof or unpacker.unused_data:
        raise GRPCError(Status.INTERNAL, "a compressed message cannot be unpacked")
    return plain


M = TypeVar("M", bound=Message)


def decode(payload: bytes, kind: type[M]) -> M:
    """The message. Raises GRPCError INTERNAL when the bytes are not one (statuscodes.md: error parsing request)."""
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise GRPCError(Status.INTERNAL, f"the request is not a {kind.__name__}") from error
