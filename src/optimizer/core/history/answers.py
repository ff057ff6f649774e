"""Answers from the history: totals over a range, and queries in steps."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from optimizer.core.history.calls import CallHistory, Kind
from optimizer.core.history.history import History
from optimizer.core.history.query import STEPS, Query
from optimizer.core.history.series import Series, Sums
from optimizer.core.history.tally import Tally
from optimizer.model import InvalidArgument

TAGS = ("service", "variant", "provider", "model")
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The value of one group at one step; `at` is the step's start, microseconds since 1970 UTC."""

    at: int
    value: float
    tags: tuple[tuple[str, str], ...] = ()


def total(
    calls: CallHistory, start: int | None, end: int | None, where: Callable[[Kind], bool] | None = None
) -> tuple[Tally, int | None, int | None]:
    """All calls of the periods that overlap the range, and which time those periods cover (None: there are none)."""
    sums, first, last = Tally(), None, None
    for period, _, tally in calls.select(start, end, where):
        sums.merge(tally)
        first = period.start if first is None else min(first, period.start)
        last = period.end if last is None else max(last, period.end)
    return sums, first, last


def evaluate(history: History, query: Query, start: int, end: int, step: int) -> list[Point]:
    """The query's value in every step that has data, by time and group. Raises InvalidArgument for too many steps.

    A period longer than the step is answered whole, at the step in which it starts.
    """
    if end <= start:
        raise InvalidArgument("a range ends after it starts", field="time_range")
    if (end - start) // step > STEPS:
        raise InvalidArgument(f"this range has more than {STEPS} steps; take a longer step", field="step")
    if query.name in CALL_VALUES:
        found = _of_calls(history.calls, query, start, end, step)
    else:
        found = _of_series(history.series.select(query.name, dict(query.tags)), query, start, end, step)
    return sorted(found, key=lambda point: (point.at, point.tags))


def _of_calls(calls: CallHistory, query: Query, start: int, end: int, step: int) -> list[Point]:
    wanted = dict(query.tags)
    unknown = sorted({*wanted, *query.by} - set(TAGS))
    if unknown:
        raise InvalidArgument(f"calls have the tags {', '.join(TAGS)}, not {unknown[0]!r}", field="query")
    groups: dict[tuple[int, tuple[str, ...]], Tally] = {}
    for period, kind, tally in calls.select(start, end, lambda kind: all(getattr(kind, t) == v for t, v in query.tags)):
        at = _step_of(period.start, start, step)
        group = (at, tuple(getattr(kind, name) for name in query.by))
        groups.setdefault(group, Tally()).merge(tally)
    points = []
    for (at, group_of), tally in groups.items():
        value = _value_of_calls(tally, query, step)
        if value is not None:
            points.append(Point(at=at, value=value, tags=tuple(zip(query.by, group_of, strict=True))))
    return points


def _value_of_calls(tally: Tally, query: Query, step: int) -> float | None:
    amount, count = CALL_VALUES[query.name](tally)
    match query.aggregate:
        case "sum":
            return amount if count else None
        case "count":
            return float(count)
        case "rate":
            return amount / (step / 1_000_000) if count else None
        case "avg":
            return amount / count if count else None
        case _ if query.name != "latency_ms":
            raise InvalidArgument(f"of calls, only latency_ms has {query.aggregate}", field="query")
        case "min":
            return tally.latency.quantile(0)
        case "max":
            return tally.latency.quantile(1)
        case _:
            return tally.latency.quantile(query.quantile or 0.5)


CALL_VALUES: Mapping[str, Callable[[Tally], tuple[float, int]]] = {
    "latency_ms": lambda t: (t.latency_sum, t.latency.count),
    "requests": lambda t: (float(t.calls), t.calls),
    "errors": lambda t: (float(t.errors), t.calls),
    "error_rate": lambda t: (float(t.errors), t.calls),
    "cost_usd": lambda t: (float(t.cost_usd), t.cost_known),
    "input_tokens": lambda t: (float(t.tokens[0]), t.tokens_known),
    "output_tokens": lambda t: (float(t.tokens[1]), t.tokens_known),
    "quality": lambda t: (t.scores.get("quality", (0, 0.0))[1], t.scores.get("quality", (0, 0.0))[0]),
}
"""What is known of calls: the sum, and over how many calls."""


def _of_series(found: Iterable[Series], query: Query, start: int, end: int, step: int) -> list[Point]:
    groups: dict[tuple[int, tuple[str, ...]], tuple[Sums, list[float]]] = {}
    for series in found:
        tags = dict(series.tags)
        names = tuple(tags.get(name, "") for name in query.by)
        for period, old in series.older.items():
            if start <= period.start < end:
                groups.setdefault((_step_of(period.start, start, step), names), (Sums(), []))[0].merge(old)
        for at, value in points_in(series, start, end):
            sums, values = groups.setdefault((_step_of(at, start, step), names), (Sums(), []))
            sums.add(value)
            values.append(value)
    points = []
    for (at, names), (sums, values) in groups.items():
        answer = _value_of_series(sums, values, query, step)
        if answer is not None:
            points.append(Point(at=at, value=answer, tags=tuple(zip(query.by, names, strict=True))))
    return points


def points_in(series: Series, start: int | None, end: int | None) -> list[tuple[int, float]]:
    """The single points of a series in [start, end); None is open."""
    first = 0 if start is None else bisect_left(series.points, (start, float("-inf")))
    last = len(series.points) if end is None else bisect_left(series.points, (end, float("-inf")))
    return series.points[first:last]


def _value_of_series(sums: Sums, values: list[float], query: Query, step: int) -> float | None:
    match query.aggregate:
        case "sum":
            return sums.total
        case "count":
            return float(sums.count)
        case "rate":
            return sums.total / (step / 1_000_000)
        case "min":
            return sums.least
        case "max":
            return sums.most
        case "avg":
            return sums.total / sums.count
        case _:  # single values are not kept for older points, so neither is their quantile
            return exact_quantile(values, query.quantile or 0.5) if len(values) == sums.count else None


def exact_quantile(values: list[float], q: float) -> float:
    """The value at rank floor(q * (n - 1)), as everywhere in this project."""
    return sorted(values)[int(q * (len(values) - 1))]


def _step_of(moment: int, start: int, step: int) -> int:
    return start + max(moment - start, 0) // step * step
