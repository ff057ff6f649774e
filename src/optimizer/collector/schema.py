"""The JSON shapes that the intake accepts, one validator for each kind of item.

TypedDicts, not models: a batch is validated item by item on the hot path, and the validated dict goes straight into the
domain struct. Numbers are strict (no text for numbers), finite and bounded; unknown keys are errors.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, Strict, TypeAdapter
from typing_extensions import TypedDict

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
ATTRIBUTES = 64  # a call has a handful of attributes worth keeping; more is a dump of something else
LARGEST_COUNT = 2**53  # exact in every JSON reader
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _event_time(moment: datetime) -> int:
    if moment < EARLIEST:
        raise ValueError(f"is before {EARLIEST.date()}, which no LLM call is")
    return micros(moment)


def _printable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    text.encode()  # a lone surrogate has no UTF-8 form: UnicodeEncodeError is a ValueError
    return text


Text = Annotated[str, Strict(), AfterValidator(_printable)]
Name = Annotated[Text, Field(min_length=1, max_length=128)]
Id = Annotated[Text, Field(min_length=1, max_length=512)]
ServiceName = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Count = Annotated[int, Strict(), Field(ge=0, le=LARGEST_COUNT)]
Amount = Annotated[float, Strict(), Field(ge=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(ge=0, le=Decimal("1e9"), allow_inf_nan=False, max_digits=30)]
Moment = Annotated[AwareDatetime, AfterValidator(_event_time)]
Plain = (
    Annotated[bool, Strict()]
    | Annotated[int, Strict(), Field(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
    | Annotated[float, Strict(), Field(allow_inf_nan=False)]
    | Annotated[Text, Field(max_length=1024)]
    | None
)
Attributes = Annotated[dict[Annotated[Text, Field(max_length=256)], Plain], Field(max_length=ATTRIBUTES)]
strict = ConfigDict(extra="forbid", hide_input_in_errors=True)


class FeedbackItem(TypedDict):
    """One finished call, as reported."""

    __pydantic_config__ = strict  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    event_id: Id
    occurred_at: Moment
    service: ServiceName
    assignment_id: NotRequired[Id | None]
    request_id: NotRequired[Id | None]
    conversation_id: NotRequired[Id | None]
    response_id: NotRequired[Id | None]
    variant: NotRequired[Name | None]
    provider: NotRequired[Name | None]
    model: NotRequired[Annotated[Text, Field(max_length=256)] | None]
    response_model: NotRequired[Annotated[Text, Field(max_length=256)] | None]
    context: NotRequired[Attributes]
    latency_ms: NotRequired[Amount | None]
    ttft_ms: NotRequired[Amount | None]
    input_tokens: NotRequired[Count | None]
    output_tokens: NotRequired[Count | None]
    cache_read_tokens: NotRequired[Count | None]
    cache_write_tokens: NotRequired[Count | None]
    reasoning_tokens: NotRequired[Count | None]
    cost_usd: NotRequired[Money | None]
    quality: NotRequired[Share | None]
    rating: NotRequired[Annotated[float, Strict(), Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None]
    error_type: NotRequired[Name | None]
    attributes: NotRequired[Attributes]


class ScoreItem(TypedDict):
    """A later judgement of a call."""

    __pydantic_config__ = strict  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    score_id: Id
    name: NotRequired[Name]
    value: Share
    source: Literal["human", "llm", "code"]
    occurred_at: Moment
    service: NotRequired[ServiceName | None]
    assignment_id: NotRequired[Id | None]
    request_id: NotRequired[Id | None]
    response_id: NotRequired[Id | None]


class MetricItem(TypedDict):
    """One point of a numeric series."""

    __pydantic_config__ = strict  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    name: Annotated[str, Strict(), Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,255}$")]
    value: Annotated[float, Strict(), Field(ge=-1e300, le=1e300, allow_inf_nan=False)]
    unit: NotRequired[Annotated[Text, Field(max_length=64)] | None]
    timestamp: NotRequired[Moment | None]
    tags: NotRequired[Annotated[dict[Name, Annotated[Text, Field(max_length=256)]], Field(max_length=16)]]


# The validated dicts hold what the structs hold (event times as integers), which TypedDicts cannot say.
feedback_item: TypeAdapter[Any] = TypeAdapter(FeedbackItem)
score_item: TypeAdapter[Any] = TypeAdapter(ScoreItem)
metric_item: TypeAdapter[Any] = TypeAdapter(MetricItem)
