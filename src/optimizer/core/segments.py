"""The segment of a call: a canonical, bounded text of the context values that a service is segmented by.

The text is stored in logs, policies and assignment ids, so these rules never change:

* Each name of `segment_by`, in its declared order, gives `name=value`; the parts are joined by `&`.
* A string value stands as it is, a number or boolean as `!` and its JSON text (1.0 and 1 are one number), a missing or
  null value as `!`. So the string "1", the number 1 and nothing are three different segments.
* `%`, `&`, `=`, `!` and control characters inside names and strings are written as `%` and two hex digits.
* A text longer than 128 bytes of UTF-8, or not encodable as UTF-8, becomes `#` and the 32 hex digits of its
  BLAKE2b-128.
* A service without `segment_by` has the one segment `*`; segments beyond the service's limit share `~other`.
"""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from itertools import chain

from optimizer.model import Scalar, Service

ALL = "*"
OTHER = "~other"
MAX_BYTES = 128
MAX_SEGMENTS = 1000
"""A policy row costs about 100 bytes per segment and a recomputation time; more segments than this have no evidence."""

_ESCAPES = {ord(c): f"%{ord(c):02X}" for c in chain("%&=!", map(chr, range(32)), ["\x7f"])}


def segment_of(service: Service, context: Mapping[str, Scalar]) -> str:
    """The segment that a call with this context belongs to; never fails, whatever the values are."""
    if not service.segment_by:
        return ALL
    parts = [f"{name.translate(_ESCAPES)}={_text(context.get(name))}" for name in service.segment_by]
    return bounded("&".join(parts))


def bounded(segment: str) -> str:
    """The segment itself, or its digest when it is longer than `MAX_BYTES` or not valid Unicode."""
    if len(segment) <= MAX_BYTES:
        if segment.isascii():
            return segment
        try:
            if len(segment.encode()) <= MAX_BYTES:
                return segment
        except UnicodeEncodeError:
            pass  # a lone surrogate, as JSON can spell it, must not make a call fail
    return "#" + blake2b(segment.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def admit(segment: str, known: Collection[str], limit: int = MAX_SEGMENTS) -> str:
    """The segment under which evidence is kept: itself while there is room, else `OTHER`.

    `known` are the segments that the service has already (`OTHER` may be among them and takes no room); the caller
    adds the answer to it. At most `limit` segments besides `OTHER` ever exist.
    """
    if segment in known or segment == OTHER:
        return segment
    return segment if len(known) - (OTHER in known) < limit else OTHER


def _text(value: Scalar) -> str:
    if value is None:
        return "!"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "!true" if value else "!false"
    if isinstance(value, float):
        return f"!{int(value)}" if value.is_integer() and abs(value) < 2**53 else f"!{value!r}"
    # Python refuses to print integers of more than 4,300 digits; hexadecimal has no such limit.
    return f"!{value}" if abs(value) < 2**64 else f"!{value:#x}"
