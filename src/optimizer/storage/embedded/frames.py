"""The values of the mapping as bytes: checksums, log frames, documents, cursors."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec

from optimizer.model import StoreCorrupt
from optimizer.storage.embedded import keys
from optimizer.storage.protocols import Document, Entry, Record

FRAME_RECORDS = 1024
"""Records in a frame: about what a consumer reads at once, so a frame is seldom decoded for a few of its entries."""

FRAME_BYTES = 256 * 1024
"""Payload bytes that end a frame (it holds at least one record), so that one read never decodes much for little."""


class _Body(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A frame inside its checksum. `names` lists kind and key pairs in turn; `which` is each record's pair, u16."""

    first: int
    names: list[str]
    which: bytes
    payloads: list[bytes]


_decoder = msgspec.msgpack.Decoder(_Body)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: the records with offsets `first` to `last`."""

    first: int
    last: int
    names: list[str]
    which: Sequence[int]
    payloads: list[bytes]

    def entries(self, after: int) -> Iterator[Entry]:
        """The frame's entries with offset > `after`."""
        start = max(after + 1 - self.first, 0)
        names = self.names
        for i in range(start, len(self.payloads)):
            pair = 2 * self.which[i]
            yield Entry(self.first + i, names[pair], names[pair + 1], self.payloads[i])


def seal(key: bytes, body: bytes) -> bytes:
    """The body with a checksum over it and its key, so that a value under another's key is found out too."""
    return crc32(body, crc32(key)).to_bytes(4, "big") + body


def unseal(key: bytes, value: bytes) -> bytes:
    """The body of a sealed value. Raises: StoreCorrupt when the checksum does not hold."""
    body = value[4:]
    if crc32(body, crc32(key)).to_bytes(4, "big") != value[:4]:
        raise StoreCorrupt(f"the value of {key!r} is damaged: its checksum does not hold")
    return body


def encode_frames(first: int, records: Sequence[Record]) -> Iterator[tuple[bytes, bytes]]:
    """The records as rows of the mapping, with offsets from `first` on."""
    start = 0
    while start < len(records):
        end, size = start, 0
        for record in records[start : start + FRAME_RECORDS]:
            end += 1
            size += len(record.payload)
            if size >= FRAME_BYTES:
                break
        part = records[start:end] if start or end < len(records) else records
        key = keys.frame(first + end - 1)
        yield key, seal(key, _encode(first + start, part))
        start = end


def _encode(first: int, records: Sequence[Record]) -> bytes:
    pairs: dict[tuple[str, str], int] = {}
    which = array("H", [pairs.setdefault((r.kind, r.key), len(pairs)) for r in records])
    names = [name for pair in pairs for name in pair]
    marks = b"" if len(pairs) == 1 else which.tobytes()
    return _encoder.encode(_Body(first, names, marks, [r.payload for r in records]))


def decode_frame(key: bytes, value: bytes) -> Frame:
    """The frame of a row. Raises: StoreCorrupt, never a torn record."""
    last = int.from_bytes(key[1:], "big")
    try:
        body = _decoder.decode(unseal(key, value))
    except msgspec.MsgspecError as e:
        raise StoreCorrupt(f"the log frame ending at offset {last} cannot be decoded") from e
    count = len(body.payloads)
    which: Sequence[int] = bytes(count)
    if body.which:
        which = array("H", body.which)
    if body.first + count - 1 != last or len(which) != count or 2 * max(which, default=0) >= len(body.names):
        raise StoreCorrupt(f"the log frame ending at offset {last} contradicts itself")
    return Frame(body.first, last, body.names, which, body.payloads)


def encode_document(key: bytes, version: int, body: bytes) -> bytes:
    """A document as a value."""
    return seal(key, version.to_bytes(8, "big") + body)


def decode_document(key: bytes, value: bytes) -> Document:
    """The document of a row. Raises: StoreCorrupt."""
    plain = unseal(key, value)
    return Document(key[1:].decode(), int.from_bytes(plain[:8], "big"), plain[8:])


def encode_number(key: bytes, number: int) -> bytes:
    """A cursor as a value."""
    return seal(key, number.to_bytes(8, "big"))


def decode_number(key: bytes, value: bytes) -> int:
    """The cursor of a row. Raises: StoreCorrupt."""
    return int.from_bytes(unseal(key, value), "big")
