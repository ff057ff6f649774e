"""Judgements in telemetry: evaluation events and annotations become scores of the call that they are about.

`gen_ai.evaluation.result` belongs to the span that carries it, or to the call with its `gen_ai.response.id`.
OpenInference annotations belong to their span, or, on a span made later only to carry them, to the one that it links.
Those of a whole trace or session are never spread over its calls.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optimizer.core.dialects.aliases import Aliases, load_aliases
from optimizer.core.dialects.calls import find_fields
from optimizer.core.dialects.spans import Span, SpanEvent, clean, is_call, span_key
from optimizer.core.dialects.usage import LARGEST
from optimizer.model import Score

EVALUATION = "gen_ai.evaluation.result"
MAX_ANNOTATIONS = 64
_ANNOTATION = re.compile(r"^(?:(trace|session)\.)?(annotation|evaluation)s\.(\d{1,4})\.\2\.(\w+)$")
_ANNOTATORS = {"HUMAN": "human", "LLM": "llm", "CODE": "code"}
_NO_RANGES: "Mapping[str, Range]" = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The scale of a score by its name: telemetry does not say it."""

    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True

    def normalise(self, value: float) -> float | None:
        """The value on our scale, where 1 is best; None when it lies outside its own."""
        if not self.low <= value <= self.high:
            return None
        share = (value - self.low) / (self.high - self.low)
        return share if self.higher_is_better else 1.0 - share


UNIT = Range()


@dataclass(frozen=True, slots=True)
class Judgements:
    """The scores of a span, and why others were left out."""

    scores: tuple[Score, ...]
    refused: tuple[str, ...]


def read_scores(
    span: Span, *, received_at: int, ranges: Mapping[str, Range] = _NO_RANGES, aliases: Aliases | None = None
) -> Judgements:
    """Every judgement in the span, with ids that make repetition harmless.

    A value is taken as 0 to 1 unless `ranges` says otherwise for its name; one outside its range is refused.
    """
    table = aliases or load_aliases()
    scores: dict[str, Score] = {}
    refused: list[str] = []
    for event in span.events:
        if event.name == EVALUATION:
            _take(_evaluation(span.trace_id, span.span_id, event, received_at, ranges, table), scores, refused)
    if any("annotation" in name or "evaluation" in name for name in span.attributes):
        target = _target(span, table)
        for scope, fields in _annotations(span.attributes):
            if scope:
                refused.append(f"{_name(fields.get('name'))}: of a whole {scope}, which is not spread over its calls")
                continue
            _take(_annotation(target, fields, span.end, received_at, ranges, table), scores, refused)
    return Judgements(tuple(scores.values()), tuple(refused))


def read_evaluation(
    event: SpanEvent,
    *,
    trace_id: str,
    span_id: str,
    received_at: int,
    ranges: Mapping[str, Range] = _NO_RANGES,
    aliases: Aliases | None = None,
) -> Judgements:
    """The judgement in a `gen_ai.evaluation.result` that came as a log record; empty ids mean no span."""
    scores: dict[str, Score] = {}
    refused: list[str] = []
    _take(_evaluation(trace_id, span_id, event, received_at, ranges, aliases or load_aliases()), scores, refused)
    return Judgements(tuple(scores.values()), tuple(refused))


def _take(made: Score | str, scores: dict[str, Score], refused: list[str]) -> None:
    if isinstance(made, str):
        refused.append(made)
    else:
        scores[made.score_id] = made


def _evaluation(
    trace_id: str, span_id: str, event: SpanEvent, received_at: int, ranges: Mapping[str, Range], aliases: Aliases
) -> Score | str:
    attributes = event.attributes
    name = _name(attributes.get("gen_ai.evaluation.name"))
    response = attributes.get("gen_ai.response.id")
    value = _value(
        name,
        attributes.get("gen_ai.evaluation.score.value"),
        attributes.get("gen_ai.evaluation.score.label"),
        ranges,
        aliases,
    )
    if isinstance(value, str):
        return value
    key = span_key(trace_id, span_id) if trace_id and span_id else None
    response_id = clean(response, 512) if isinstance(response, str) and response else None
    if key is None and response_id is None:
        return f"{name}: says neither span nor response"
    return Score(
        score_id=_identity("evaluation", key or response_id or "", name, str(event.time)),
        name=name,
        value=value,
        source="unknown",  # the convention has no evaluator
        occurred_at=event.time,
        received_at=received_at,
        response_id=response_id,
        span_id=key,
    )


def _annotation(
    target: str,
    fields: Mapping[str, object],
    time: int,
    received_at: int,
    ranges: Mapping[str, Range],
    aliases: Aliases,
) -> Score | str:
    name = _name(fields.get("name"))
    value = _value(name, fields.get("score"), fields.get("label"), ranges, aliases)
    if isinstance(value, str):
        return value
    identifier = fields.get("identifier")
    return Score(
        score_id=_identity("annotation", target, name, identifier if isinstance(identifier, str) else ""),
        name=name,
        value=value,
        source=_ANNOTATORS.get(str(fields.get("annotator_kind", "")).upper(), "unknown"),
        occurred_at=time,
        received_at=received_at,
        span_id=target,
    )


def _annotations(attributes: Mapping[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """The annotations in flattened attributes, each with its scope (empty for the span), in their order."""
    groups: dict[tuple[str, str, int], dict[str, object]] = {}
    for attribute, value in attributes.items():
        match = _ANNOTATION.match(attribute)
        if match is not None:
            scope, kind, index, field = match.groups()
            groups.setdefault((scope or "", kind, int(index)), {})[field] = value
    for key in sorted(groups)[:MAX_ANNOTATIONS]:
        yield key[0], groups[key]


def _target(span: Span, aliases: Aliases) -> str:
    """The span that annotations on this one are about."""
    if len(span.links) == 1 and not is_call(find_fields(span.attributes, aliases), aliases):
        return span_key(*span.links[0])
    return span_key(span.trace_id, span.span_id)


def _value(name: str, value: object, label: object, ranges: Mapping[str, Range], aliases: Aliases) -> float | str:
    """The value on our scale, or why there is none."""
    if not name:
        return "a judgement without a name"
    if isinstance(value, bool):
        return 1.0 if value else 0.0
    if isinstance(value, (int, float)):
        scale = ranges.get(name, UNIT)
        normal = scale.normalise(value)
        if normal is not None:
            return normal
        shown = "a huge number" if isinstance(value, int) and abs(value) > LARGEST else f"{value:g}"
        return f"{name}: {shown} is outside {scale.low:g} to {scale.high:g}"
    known = aliases.labels.get(label.strip().lower()) if isinstance(label, str) else None
    if known is None:
        return f"{name}: neither a number nor a label that is understood"
    return known


def _name(value: object) -> str:
    return clean(value.strip(), 128) if isinstance(value, str) else ""


def _identity(*parts: str) -> str:
    digest = hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=16, person=b"score")
    return f"span:{digest.hexdigest()}"
