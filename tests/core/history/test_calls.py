"""The history of calls: every call is counted exactly once, in a period that contains it."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core import records
from optimizer.core.history import History, Kind, restore_history, total
from optimizer.core.history.calls import KINDS, OTHER
from optimizer.core.history.periods import DAY, HOUR, LEVELS, MINUTE, coarser, overlaps, period_of
from optimizer.model import FeedbackEvent, MetricSample, Score

NOON = 1_700_000_040_000_000 // DAY * DAY + 12 * HOUR


def call(at: int, service: str = "chat", **more: object) -> FeedbackEvent:
    return FeedbackEvent(event_id=f"e{at}", service=service, occurred_at=at, received_at=at, **more)  # type: ignore[arg-type]


@given(st.integers(0, 2 * NOON), st.integers(0, 2 * NOON))
def test_a_period_contains_its_moment_and_stays_whole_when_it_ages(moment: int, later: int) -> None:
    period = period_of(moment, moment)
    assert period is not None
    assert period.start <= moment < period.end
    place = coarser(period, moment + later)
    if place is not None:
        assert place.start <= period.start
        assert period.end <= place.end


def test_levels_nest() -> None:
    lengths = [length for length, _ in LEVELS]
    assert all(longer % shorter == 0 for shorter, longer in pairwise(lengths))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(None, None, True), (0, MINUTE, True), (MINUTE, None, False), (None, 0, False), (MINUTE - 1, None, True)],
)
def test_overlap_is_half_open(start: int | None, end: int | None, expected: bool) -> None:
    period = period_of(0, 0)
    assert period is not None
    assert overlaps(period, start, end) is expected


@given(st.lists(st.integers(NOON - 399 * DAY, NOON), max_size=60))
def test_every_call_is_counted_once_however_it_ages(moments: list[int]) -> None:
    history = History()
    for moment in moments:
        history.calls.add(call(moment, latency_ms=5.0, cost_usd=Decimal("0.1")))
        history.calls.tidy()
    sums, _, _ = total(history.calls, None, None)
    assert sums.calls == sums.latency.count == len(moments)
    assert sums.cost_usd == Decimal("0.1") * len(moments)


def test_what_is_unknown_is_not_counted() -> None:
    history = History()
    history.calls.add(call(NOON))
    sums, _, _ = total(history.calls, None, None)
    assert (sums.calls, sums.cost_known, sums.mean_cost(), sums.mean_latency(), sums.mean_score("quality")) == (
        1, 0, None, None, None,
    )  # fmt: skip


def test_a_range_answers_whole_periods_and_says_which() -> None:
    history = History()
    for minute in range(10):
        history.calls.add(call(NOON + minute * MINUTE + 30_000_000))
    sums, first, last = total(history.calls, NOON + 2 * MINUTE + 1, NOON + 4 * MINUTE)
    assert (sums.calls, first, last) == (2, NOON + 2 * MINUTE, NOON + 4 * MINUTE)


def test_what_is_too_old_is_refused_and_said() -> None:
    history = History()
    history.calls.add(call(NOON))
    history.calls.add(call(NOON - 401 * DAY))
    assert history.calls.too_old == 1
    assert total(history.calls, None, None)[0].calls == 1


def test_kinds_are_bounded_and_no_call_is_lost() -> None:
    history = History()
    for i in range(KINDS + 50):
        history.calls.add(call(NOON, model=f"m{i}"))
    kinds = {kind for _, kind, _ in history.calls.select()}
    assert len(kinds) == KINDS + 1
    assert Kind("chat", OTHER, OTHER, OTHER) in kinds
    assert total(history.calls, None, None)[0].calls == KINDS + 50


def _log(moments: list[int]) -> list[tuple[int, str, str, bytes]]:
    entries = []
    for i, moment in enumerate(moments, 1):
        kind, payload = (
            (records.FEEDBACK, records.encode(call(moment, latency_ms=float(i), quality=0.5))),
            (records.METRIC, records.encode(MetricSample(name="m", value=i, timestamp=moment, received_at=0))),
            (
                records.SCORE,
                records.encode(
                    Score(score_id=str(i), name="accuracy", value=1, source="code", occurred_at=moment, received_at=0)
                ),
            ),
        )[i % 3]
        entries.append((i, kind, "chat", payload))
    return entries


@given(st.lists(st.integers(NOON - 30 * DAY, NOON), max_size=60), st.integers(0, 60))
def test_a_restored_history_goes_on_as_if_nothing_had_happened(moments: list[int], cut: int) -> None:
    entries = _log(moments)
    straight, before = History(), History()
    for entry in entries:
        straight.apply(*entry)
    for entry in entries[:cut]:
        before.apply(*entry)
    documents = {key: body for key, body in before.changed() if body is not None}
    after = restore_history(before.cursor, documents.items())
    for entry in entries[cut:]:
        after.apply(*entry)
    assert total(after.calls, None, None)[0].state() == total(straight.calls, None, None)[0].state()
    assert {key: series.points for key, series in after.series.series.items()} == {
        key: series.points for key, series in straight.series.series.items()
    }
