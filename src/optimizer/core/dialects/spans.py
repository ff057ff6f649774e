"""A span as the dialects see it, whatever transport brought it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.core.dialects.aliases import Aliases, load_aliases
from optimizer.core.dialects.usage import LARGEST
from optimizer.model.services import Scalar

# Finish reasons and tags come in lists of a few; a longer list is data.
MAX_JOINED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened in a span; `time` in microseconds since 1970."""

    name: str
    time: int
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished span. Ids in lower-case hexadecimal, times in microseconds since 1970; values as OTLP has them:
    text, number, boolean, list, or mapping. `links` are (trace id, span id)."""

    trace_id: str
    span_id: str
    start: int
    end: int
    attributes: Mapping[str, object]
    resource: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    failed: bool = False
    events: Sequence[SpanEvent] = ()
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a span's attributes is kept on an event."""

    attributes: int = 64
    text: int = 1024


def span_key(trace_id: str, span_id: str) -> str:
    """The name of a span: its id is unique within its trace only."""
    return f"{trace_id}-{span_id}"


def is_call(found: Mapping[str, object], aliases: Aliases | None = None) -> bool:
    """Whether fields found in a span's attributes make it one call of a model, not something around calls."""
    table = aliases or load_aliases()
    kind = found.get("openinference_kind")
    if isinstance(kind, str):
        return kind.upper() in table.openinference_kinds
    if found.get("traceloop_kind") is not None:
        return False  # workflow, task, agent, tool: the calls inside have spans of their own
    operation = found.get("operation")
    if isinstance(operation, str):
        return operation.lower() in table.operations
    return found.get("model") is not None or found.get("response_model") is not None


def plain(value: object, longest: int) -> Scalar:
    """A value that an event can carry: texts cut to the bound, lists of plain values joined; None for anything else."""
    if isinstance(value, str):
        return clean(value, longest)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -LARGEST <= value <= LARGEST:
            return value
        return str(value) if value.bit_length() <= 64 else None  # an id: as a number it would not survive JSON
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and the infinities are no values
    if isinstance(value, (list, tuple)) and len(value) <= MAX_JOINED:
        parts = [plain(each, longest) if isinstance(each, (str, bool, int, float)) else None for each in value]
        return None if None in parts else ",".join(map(str, parts))[:longest]
    return None


def clean(text: str, longest: int) -> str:
    """The text cut to the bound, without what has no UTF-8 form (a lone surrogate from JSON)."""
    cut = text if len(text) <= longest else text[:longest]
    return cut if cut.isascii() else cut.encode(errors="replace").decode()
