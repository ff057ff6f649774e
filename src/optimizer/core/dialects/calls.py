"""From the attributes of a span to a feedback event: one pass over the attributes, by the alias table."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from optimizer.core.dialects.aliases import NO_DIALECT, Aliases, Keep, load_aliases
from optimizer.core.dialects.spans import Bounds, Span, clean, is_call, plain, span_key
from optimizer.core.dialects.usage import read_usage
from optimizer.model import FeedbackEvent
from optimizer.model.services import Scalar

# Dollars; what is above for one call is another unit.
MOST_EXPENSIVE = Decimal(1_000_000)
MAX_METADATA = 16_384
MAX_KEY = 256
_MAX_NAME = 128
_DEFAULT_BOUNDS = Bounds()


def read_call(
    span: Span,
    *,
    received_at: int,
    keep_content: bool = False,
    bounds: Bounds = _DEFAULT_BOUNDS,
    aliases: Aliases | None = None,
) -> FeedbackEvent | None:
    """The call that the span describes; None when it describes none.

    The event's id is the span's, so a span that is sent twice counts once. Its service is `llm_optimizer.service` of
    the span or its resource, else the resource's `service.name`; empty when there is neither. Prompts and completions
    are left out unless `keep_content`.
    """
    table = aliases or load_aliases()
    found = find_fields(span.attributes, table)
    if not is_call(found, table):
        return None
    rest = _sort(span.attributes, found, table, bounds, keep_content=keep_content)
    if rest.dialect is None:
        return None
    usage = read_usage(
        found.get("input_tokens"),
        found.get("output_tokens"),
        found.get("cache_read_tokens"),
        found.get("cache_write_tokens"),
        found.get("reasoning_tokens"),
        found.get("total_tokens"),
    )
    cost = _cost(found)
    key = span_key(span.trace_id, span.span_id)
    return FeedbackEvent(
        event_id=f"span:{key}",
        service=_service(span, found),
        occurred_at=span.end,
        received_at=received_at,
        variant=_text(found, "variant"),
        assignment_id=_text(found, "assignment_id", 512),
        request_id=_text(found, "request_id", 512),
        conversation_id=_text(found, "conversation_id", 512),
        response_id=_text(found, "response_id", 512),
        provider=_provider(found, table),
        model=_text(found, "model", 256),
        response_model=_text(found, "response_model", 256),
        context=rest.context,
        latency_ms=(span.end - span.start) / 1000 if span.end >= span.start else None,
        ttft_ms=_milliseconds(found.get("ttft_seconds")),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=cost,
        cost_source=None if cost is None else "reported",
        error_type=_error(span, found),
        attributes=rest.attributes,
        dialect=rest.dialect,
        usage_quality=usage.quality,
        span_id=key,
    )


def find_fields(attributes: Mapping[str, object], aliases: Aliases) -> dict[str, object]:
    """Our fields in the attributes; where several names are there, the best one that says something."""
    best: dict[str, int] = {}
    found: dict[str, object] = {}
    fields = aliases.fields
    for name, value in attributes.items():
        meant = fields.get(name)
        if meant is None or value is None or value == "":
            continue
        field, rank = meant
        if rank < best.get(field, 1_000):
            best[field] = rank
            found[field] = value
    return found


def _service(span: Span, found: Mapping[str, object]) -> str:
    names = ("llm_optimizer.service", "optimizer.service", "service.name")
    for value in (found.get("service"), *map(span.resource.get, names)):
        if isinstance(value, str) and value:
            return clean(value, _MAX_NAME)
    return ""


def _text(found: Mapping[str, object], field: str, longest: int = _MAX_NAME) -> str | None:
    value = found.get(field)
    return clean(value, longest) if isinstance(value, str) else None


def _provider(found: Mapping[str, object], aliases: Aliases) -> str | None:
    named = _text(found, "provider")
    if named is None:
        return None
    name = named.strip().lower()
    return aliases.providers.get(name, name)


def _milliseconds(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e6:
        return None
    return seconds * 1000.0


def _cost(found: Mapping[str, object]) -> Decimal | None:
    value, currency = found.get("cost"), found.get("currency", "USD")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or str(currency).upper() != "USD":
        return None
    try:
        # By way of the text: 0.1 means a tenth of a dollar, not the nearest binary fraction.
        cost = Decimal(str(value))
    except ArithmeticError:
        return None
    return cost if cost.is_finite() and 0 <= cost <= MOST_EXPENSIVE else None


def _error(span: Span, found: Mapping[str, object]) -> str | None:
    named = _text(found, "error_type")
    if named is not None and (span.failed or "error.type" in span.attributes):
        return named
    if not span.failed:
        return None
    for event in span.events:
        kind = event.attributes.get("exception.type")
        if event.name == "exception" and isinstance(kind, str) and kind:
            return clean(kind, _MAX_NAME)
    return "_OTHER"


class _Rest(NamedTuple):
    """What the attributes say besides our fields."""

    dialect: str | None
    context: dict[str, Scalar]
    attributes: dict[str, Scalar]


def _sort(
    attributes: Mapping[str, object],
    found: Mapping[str, object],
    aliases: Aliases,
    bounds: Bounds,
    *,
    keep_content: bool,
) -> _Rest:
    """The dialect, the context, and what is kept as it was sent: the usage first, which the token rule may be asked
    about, then the rest up to the bound."""
    dialect = NO_DIALECT
    context = _metadata(found.get("metadata"), bounds)
    kept: dict[str, Scalar] = {}
    others: list[tuple[str, object]] = []
    tier = found.get("service_tier")
    if tier is not None:
        _put(kept, "service_tier", tier, bounds)
    crowded = len(attributes) >= bounds.attributes
    known, longest = aliases.known, bounds.text
    for name, value in attributes.items():
        meaning = known.get(name) or aliases.meaning(name)
        keep = meaning.keep
        if meaning.dialect < dialect:
            dialect = meaning.dialect
        if meaning.context is not None:
            _put(context, meaning.context, value, bounds)
        if not keep or (keep is Keep.CONTENT and not keep_content):
            continue
        if crowded and keep is not Keep.USAGE:
            others.append((name, value))
        elif type(value) is str and meaning.ascii and len(value) <= longest and value.isascii():
            kept[name] = value  # nearly every attribute is a short text in a plain alphabet and needs no further look
        else:
            _put(kept, name, value, bounds)
    for name, value in others:
        if len(kept) >= bounds.attributes:
            break
        _put(kept, name, value, bounds)
    return _Rest(None if dialect == NO_DIALECT else aliases.dialects[dialect], context, kept)


def _metadata(value: object, bounds: Bounds) -> dict[str, Scalar]:
    """The plain members of OpenInference's `metadata`, a JSON text."""
    if isinstance(value, str):
        if len(value) > MAX_METADATA:
            return {}
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    context: dict[str, Scalar] = {}
    if isinstance(value, Mapping):
        for name, member in value.items():
            _put(context, str(name), member, bounds)
    return context


def _put(target: dict[str, Scalar], name: str, value: object, bounds: Bounds) -> None:
    if len(target) >= bounds.attributes or not 0 < len(name) <= MAX_KEY:
        return
    kept = plain(value, bounds.text)
    if kept is not None:
        target[name if name.isascii() else clean(name, MAX_KEY)] = kept
