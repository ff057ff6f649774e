"""The query language: `aggregate(name{tag="value", ...}) by (tag, ...)`, evaluated in steps of event time.

Aggregates: sum, avg, min, max, count, rate (per second), and p1 to p99. Without one, avg is meant. Names are recorded
series, or what is known of calls: latency_ms, requests, errors, error_rate, cost_usd, input_tokens, output_tokens,
quality, each with the tags service, variant, provider and model.
"""

import re
from dataclasses import dataclass

from optimizer.model import InvalidArgument

AGGREGATES = frozenset({"sum", "avg", "min", "max", "count", "rate"})
STEPS = 11_000
"""Points that one answer may have (Prometheus draws the same line)."""

_NAME = r"[A-Za-z_][A-Za-z0-9_.:-]*"
_QUERY = re.compile(
    rf"\s*(?:(?P<aggregate>[a-z]+[0-9]*)\s*\()?\s*(?P<name>{_NAME})\s*(?:\{{(?P<tags>[^{{}}]*)\}})?\s*(?P<close>\))?"
    rf"\s*(?:by\s*\((?P<by>[^()]*)\))?\s*"
)
_TAG = re.compile(rf'\s*({_NAME})\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_DURATION = re.compile(r"(?:([0-9]{1,9})(ms|s|m|h|d|w))+")
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked: `quantile` (0..1) goes with aggregate "quantile"."""

    name: str
    aggregate: str = "avg"
    quantile: float | None = None
    tags: tuple[tuple[str, str], ...] = ()
    by: tuple[str, ...] = ()


def parse_query(text: str) -> Query:
    """The query. Raises InvalidArgument that says what was expected."""
    found = _QUERY.fullmatch(text) if len(text) <= 1_024 else None
    if found is None or bool(found["aggregate"]) != bool(found["close"]):
        raise InvalidArgument('expected something like avg(latency_ms{service="chat"}) by (variant)', field="query")
    aggregate, quantile = _aggregate(found["aggregate"] or "avg")
    by = tuple(part.strip() for part in (found["by"] or "").split(",") if part.strip())
    return Query(name=found["name"], aggregate=aggregate, quantile=quantile, tags=_tags(found["tags"] or ""), by=by)


def parse_step(text: str, default: int) -> int:
    """A duration such as "30s", "5m" or "1h30m" in microseconds. Raises InvalidArgument."""
    text = text.strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return max(int(text), 1) * 1_000_000
    if not _DURATION.fullmatch(text):
        raise InvalidArgument("expected a duration such as 30s, 5m or 1h", field="step")
    step = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    if step <= 0:
        raise InvalidArgument("a step is longer than nothing", field="step")
    return step


def _aggregate(word: str) -> tuple[str, float | None]:
    if word in AGGREGATES:
        return word, None
    percent = word[1:]
    if word.startswith("p") and percent.isdigit() and 1 <= int(percent) <= 99:
        return "quantile", int(percent) / 100
    known = ", ".join(sorted(AGGREGATES))
    raise InvalidArgument(f"unknown aggregate {word!r}: one of {known}, or p1 to p99", field="query")


def _tags(text: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text) and text[position:].strip():
        match = _TAG.match(text, position)
        if match is None:
            raise InvalidArgument(f'expected tag="value" at {text[position : position + 20]!r}', field="query")
        found.append((match[1], re.sub(r"\\(.)", r"\1", match[2])))
        position = match.end()
    return tuple(found)
