"""Feedback and scores as the intake takes them. Only fields that are set are looked at: unset is unknown."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from optimizer.core.assignment import parse
from optimizer.grpc_api.convert.plain import from_struct
from optimizer.grpc_api.pb.feedback_pb2 import FeedbackEvent, Score
from optimizer.model import InvalidArgument

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OBJECTS = ("context", "attributes")


def from_feedback(event: FeedbackEvent, now: datetime) -> dict[str, object]:
    """The event as an item of `Intake.feedback`; what is wrong with it, the intake will say."""
    item = _set_fields(event, now)
    if "service" not in item and event.assignment_id:
        try:
            item["service"] = parse(event.assignment_id).service
        except InvalidArgument:
            return item  # refused by the intake, which names the field
    return item


def from_score(score: Score, now: datetime) -> dict[str, object]:
    """The score as an item of `Intake.scores`."""
    return _set_fields(score, now)


def _set_fields(message: Message, now: datetime) -> dict[str, object]:
    item: dict[str, object] = {"occurred_at": now}
    for field, value in message.ListFields():
        name = field.name
        if name == "occurred_at":
            item[name] = _moment(value)
        elif name in OBJECTS:
            item[name] = from_struct(value)
        else:
            item[name] = value
    return item


def _moment(timestamp: Timestamp) -> datetime | str:
    try:
        return EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1_000)
    except OverflowError:
        return "outside the years 1 to 9999"
