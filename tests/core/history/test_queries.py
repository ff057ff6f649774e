"""The query language, series and trends."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.history import History, Query, evaluate, parse_query, parse_step, trend
from optimizer.core.history.answers import points_in
from optimizer.core.history.periods import HOUR, MINUTE
from optimizer.core.history.series import POINTS, SERIES
from optimizer.model import FeedbackEvent, InvalidArgument, MetricSample

T = 1_700_000_040_000_000 // HOUR * HOUR


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("cpu", Query(name="cpu")),
        ("avg(cpu)", Query(name="cpu")),
        (' sum( cpu {host="a", zone="x\\"y"} ) by ( host , zone ) ',
         Query(name="cpu", aggregate="sum", tags=(("host", "a"), ("zone", 'x"y')), by=("host", "zone"))),
        ('p95(latency_ms{service="chat"})',
         Query(name="latency_ms", aggregate="quantile", quantile=0.95, tags=(("service", "chat"),))),
        ("rate(http.requests_total{})", Query(name="http.requests_total", aggregate="rate")),
    ],
)  # fmt: skip
def test_what_is_understood(text: str, query: Query) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize(
    "text",
    ["", "avg(", "avg(cpu", "cpu)", "median(cpu)", "p0(cpu)", "p100(cpu)", "p(cpu)", "cpu{a}", "cpu{a=b}", 'cpu{a="b}',
     "1cpu", "avg(cpu) by host", "cpu; drop", "x" * 2000, 'cpu{a="b" c="d"}'],
)  # fmt: skip
def test_what_is_not(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_query(text)


@pytest.mark.parametrize(("text", "seconds"), [("", 60), ("30", 30), ("30s", 30), ("5m", 300), ("1h30m", 5400)])
def test_steps(text: str, seconds: int) -> None:
    assert parse_step(text, 60_000_000) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["x", "5m x", "-5m", "0s", "9" * 30, "1.5h"])
def test_bad_steps(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_step(text, 1)


def sample(at: int, value: float, name: str = "cpu", **tags: str) -> MetricSample:
    return MetricSample(name=name, value=value, timestamp=at, received_at=at, tags=tags)


def recorded(*samples: MetricSample) -> History:
    history = History()
    for each in samples:
        history.series.add(each)
    return history


def values(history: History, text: str, *, end: int = T + HOUR, step: int = HOUR) -> list[float]:
    return [point.value for point in evaluate(history, parse_query(text), T, end, step)]


def test_aggregates_of_a_series() -> None:
    history = recorded(*(sample(T + i * MINUTE, value) for i, value in enumerate([4.0, -1.0, 3.0, 10.0])))
    asked = {"sum": 16.0, "avg": 4.0, "min": -1.0, "max": 10.0, "count": 4.0, "p50": 3.0}
    assert {name: values(history, f"{name}(cpu)")[0] for name in asked} == asked
    assert values(history, "rate(cpu)", step=4 * MINUTE)[0] == pytest.approx(16 / 240)


def test_steps_and_groups() -> None:
    history = recorded(
        sample(T, 1, host="a"), sample(T, 3, host="b"), sample(T + MINUTE, 5, host="a"), sample(T + HOUR, 9, host="a")
    )
    points = evaluate(history, parse_query("sum(cpu) by (host)"), T, T + HOUR, MINUTE)
    assert [((point.at - T) // MINUTE, dict(point.tags)["host"], point.value) for point in points] == [
        (0, "a", 1.0), (0, "b", 3.0), (1, "a", 5.0),
    ]  # fmt: skip
    assert values(history, 'sum(cpu{host="b"})') == [3.0]


def test_calls_are_asked_like_series() -> None:
    history = History()
    for i in range(10):
        history.calls.add(
            FeedbackEvent(
                event_id=str(i),
                service="chat",
                occurred_at=T + i,
                received_at=0,
                latency_ms=100.0 + i,
                error_type="timeout" if i == 0 else None,
                variant="a" if i % 2 else "b",
                quality=0.5,
            )
        )
    assert values(history, "avg(latency_ms)") == [104.5]
    assert values(history, "count(requests)") == [10.0]
    assert values(history, 'sum(requests{variant="a"})') == [5.0]
    assert values(history, "avg(error_rate)") == [0.1]
    assert values(history, "avg(quality)") == [0.5]
    assert values(history, "avg(cost_usd)") == []
    assert values(history, "p95(latency_ms)")[0] == pytest.approx(108, rel=0.01)
    with pytest.raises(InvalidArgument):
        values(history, "max(cost_usd)")
    with pytest.raises(InvalidArgument):
        values(history, 'sum(requests{host="a"})')


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        evaluate(History(), parse_query("cpu"), 0, T, MINUTE)
    with pytest.raises(InvalidArgument):
        evaluate(History(), parse_query("cpu"), T, T, MINUTE)


@given(st.lists(st.tuples(st.integers(T, T + 30 * 24 * HOUR), st.integers(-5, 5)), max_size=POINTS + 200))
def test_no_point_is_lost_and_the_newest_are_kept_singly(points: list[tuple[int, int]]) -> None:
    history = recorded(*(sample(at, float(value)) for at, value in points))
    if not points:
        return
    (series,) = history.series.select("cpu")
    series.tidy()
    assert series.count == len(points)
    assert [at for at, _ in series.points] == sorted(at for at, _ in points)[-POINTS:]
    older = list(series.older.values())
    assert sum(sums.count for sums in older) + len(series.points) == len(points)
    assert sum(sums.total for sums in older) + sum(v for _, v in series.points) == sum(value for _, value in points)


def test_ranges_of_single_points_are_half_open() -> None:
    (series,) = recorded(sample(T, 1), sample(T + 1, 2), sample(T + 2, 3)).series.select("cpu")
    assert [value for _, value in points_in(series, T + 1, T + 2)] == [2]
    assert len(points_in(series, None, None)) == 3


def test_series_are_bounded() -> None:
    history = recorded(*(sample(T, 1, f"m{i}") for i in range(SERIES + 5)))
    assert (len(history.series.series), history.series.refused) == (SERIES, 5)


def test_trends() -> None:
    assert trend([1, 2, 3]) is None
    rising = trend([float(i) for i in range(20)])
    assert rising is not None
    assert (rising.direction, rising.confidence > 0.999) == ("up", True)
    falling = trend([100 - i for i in range(20)])
    assert falling is not None
    assert (falling.direction, round(falling.change_pct)) == ("down", -19)
    level = trend([5.0] * 20)
    assert level is not None
    assert (level.direction, level.change_pct, level.confidence) == ("flat", 0.0, 0.0)


def test_noise_is_called_a_trend_as_rarely_as_declared() -> None:
    rng = random.Random(7)
    found = [trend([rng.gauss(0, 1) for _ in range(30)]) for _ in range(400)]
    wrong = sum(each is not None and each.direction != "flat" for each in found)
    assert wrong <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5
