"""Compressed bodies, unpacked within a bound: a few kilobytes of gzip can stand for gigabytes."""

import zlib

from optimizer.model import InvalidArgument, ResourceExhausted

UNPACKED = 8 << 20
"""Bytes of an unpacked body: twice what may come unpacked, and what one append to the log can hold."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def unpack(body: bytes, encoding: str, limit: int = UNPACKED) -> bytes:
    """The body without its Content-Encoding (RFC 9110, section 8.4).

    Raises: InvalidArgument for an encoding that is not known or data that is damaged; `TooLarge` beyond the limit,
    found before more than that was unpacked.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    window = _WINDOWS.get(name)
    if window is None:
        raise InvalidArgument(f"content encoding {name[:40]!r} is not known; gzip and deflate are")
    pieces: list[bytes] = []
    size, rest = 0, body
    while rest:  # a gzip body may have several members (RFC 1952, section 2.2)
        unpacker = zlib.decompressobj(window)
        try:
            piece = unpacker.decompress(rest, limit - size + 1)
        except zlib.error as error:
            raise InvalidArgument(f"the body is not {name}") from error
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes when unpacked")
        if not unpacker.eof:
            raise InvalidArgument(f"the {name} body is cut off")
        pieces.append(piece)
        rest = unpacker.unused_data
    return b"".join(pieces)


class TooLarge(ResourceExhausted):
    """A body beyond the bound: sending it again does not help."""
