"""Times: integer microseconds since 1970 UTC here, google.protobuf.Timestamp on the wire."""

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from optimizer.grpc_api.pb.common_pb2 import TimeRange
from optimizer.model import InvalidArgument

LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z, the end of what a Timestamp may say


def to_time(moment: int | None) -> Timestamp | None:
    """The timestamp, None for an unknown time (so that the field stays unset)."""
    if moment is None:
        return None
    return Timestamp(seconds=moment // 1_000_000, nanos=moment % 1_000_000 * 1_000)


def from_time(timestamp: Timestamp, field: str) -> int:
    """The moment, cut to microseconds. Raises InvalidArgument for a time that no calendar has."""
    if not -62_135_596_800 <= timestamp.seconds <= LATEST or not 0 <= timestamp.nanos < 1_000_000_000:
        raise InvalidArgument("lies outside the years 1 to 9999", field=field)
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000


def optional_time(message: Message, field: str) -> int | None:
    """The moment in that field of the message, None when it is unset."""
    return from_time(getattr(message, field), field) if message.HasField(field) else None


def from_time_range(message: Message, field: str = "time_range") -> tuple[int | None, int | None]:
    """Start (inclusive) and end (exclusive) of the range in that field; None is open. Raises InvalidArgument."""
    if not message.HasField(field):
        return None, None
    found: TimeRange = getattr(message, field)
    start, end = optional_time(found, "start"), optional_time(found, "end")
    if start is not None and end is not None and end < start:
        raise InvalidArgument("the range ends before it starts", field=field)
    return start, end
