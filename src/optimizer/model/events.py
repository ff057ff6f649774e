"""What the outside world reports: finished calls, later judgements of them, and plain metric samples.

These are the records of the log, so they are msgspec structs (frozen like a dataclass, and their own compact encoding):
fields may be appended, never removed or reordered. Times are integer microseconds since 1970 UTC. Unknown is None,
never 0.
"""

from decimal import Decimal

import msgspec

from optimizer.model.services import Scalar


class FeedbackEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One finished LLM call. `event_id` is the idempotency key; `received_at` was stamped by the intake.

    `quality` is 0..1, `rating` is the user's own scale, `cost_source` is "reported" or "priced".
    `usage_quality` and `dialect` say how token counts were read from telemetry.
    """

    event_id: str
    service: str
    occurred_at: int
    received_at: int
    variant: str | None = None
    assignment_id: str | None = None
    request_id: str | None = None
    conversation_id: str | None = None
    response_id: str | None = None
    provider: str | None = None
    model: str | None = None
    response_model: str | None = None
    context: dict[str, Scalar] = {}
    latency_ms: float | None = None
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None
    cost_source: str | None = None
    quality: float | None = None
    rating: float | None = None
    error_type: str | None = None
    attributes: dict[str, Scalar] = {}
    dialect: str | None = None
    usage_quality: str | None = None
    span_id: str | None = None


class Score(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A later judgement (0..1) of one call, found by `assignment_id`, `request_id`, `response_id` or `span_id`."""

    score_id: str
    name: str
    value: float
    source: str
    occurred_at: int
    received_at: int
    service: str | None = None
    assignment_id: str | None = None
    request_id: str | None = None
    response_id: str | None = None
    span_id: str | None = None


class MetricSample(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One point of any numeric series."""

    name: str
    value: float
    timestamp: int
    received_at: int
    unit: str | None = None
    tags: dict[str, str] = {}
