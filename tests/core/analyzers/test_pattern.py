import msgspec
import pytest

from optimizer.core.analyzers import PatternAnalyzer, PatternState, Report
from optimizer.core.analyzers.values import HOUR, MINUTE, SECOND
from tests.core.analyzers.calls import START, call


def kinds(report: Report) -> set[str]:
    return {insight.kind for insight in report.insights}


def feed(analyzer: PatternAnalyzer, counts: list[int], width: int = HOUR, start: int = 0, service: str = "s") -> int:
    """`counts[i]` calls spread over the i-th stretch of time; the end of the last one."""
    for i, count in enumerate(counts):
        for j in range(count):
            analyzer.observe(call(start + i * width + j * width // count, service))
    return start + len(counts) * width


def test_even_traffic_has_no_pattern() -> None:
    analyzer = PatternAnalyzer()
    end = feed(analyzer, [20] * 24 * 8)
    report = analyzer.analyze(START + end + SECOND)
    assert kinds(report) == set()
    assert report.metrics["s"]["next_hour"] == 20.0


def test_a_burst_is_told_in_event_time() -> None:
    analyzer = PatternAnalyzer()
    feed(analyzer, [30] * 60 + [100], MINUTE)
    analyzer.observe(call(61 * MINUTE + SECOND))
    report = analyzer.analyze(START + 61 * MINUTE + 2 * SECOND)
    assert kinds(report) == {"burst"}
    assert report.insights[0].evidence["usual"] == pytest.approx(30, abs=1)


def test_twice_a_handful_is_no_burst() -> None:
    analyzer = PatternAnalyzer()
    feed(analyzer, [2] * 60 + [5], MINUTE)
    assert kinds(analyzer.analyze(START + 61 * MINUTE + 2 * SECOND)) == set()


@pytest.mark.parametrize(("factor", "kind"), [(2, "growth"), (0.5, "decline")])
def test_growth_and_decline_against_the_day_before(factor: float, kind: str) -> None:
    analyzer = PatternAnalyzer()
    end = feed(analyzer, [20] * 30 + [int(20 * factor)] * 24)
    assert kinds(analyzer.analyze(START + end + SECOND)) == {kind}


def test_busy_and_quiet_hours_and_the_next_hour() -> None:
    analyzer = PatternAnalyzer()
    end = feed(analyzer, [40 if 9 <= hour % 24 < 12 else 2 if hour % 24 < 4 else 12 for hour in range(24 * 5 + 9)])
    report = analyzer.analyze(START + end - MINUTE)
    assert kinds(report) == {"daily_pattern"}
    assert "busy hours 09, 10, 11, quiet hours 00, 01, 02, 03" in report.insights[0].title
    assert report.metrics["s"]["next_hour"] == 40.0
    assert report.metrics["s"]["next_hour_low"] < 40.0 < report.metrics["s"]["next_hour_high"]


def test_weekends_differ_from_working_days() -> None:
    analyzer = PatternAnalyzer()
    # START is a Thursday: days 2 and 3 are the weekend.
    end = feed(analyzer, [3 if (hour // 24) % 7 in (2, 3) else 12 for hour in range(24 * 15)])
    report = analyzer.analyze(START + end + SECOND)
    found = next(i for i in report.insights if i.kind == "weekly_pattern")
    assert (found.evidence["weekend"], found.evidence["working_day"]) == (72.0, 288.0)


def test_one_service_of_many_that_has_most_of_the_traffic() -> None:
    analyzer = PatternAnalyzer()
    for i in range(10):
        end = feed(analyzer, [20 if i else 300], service=f"s{i}")
    report = analyzer.analyze(START + end - SECOND)
    assert [(i.kind, i.service) for i in report.insights] == [("hot_service", "s0")]


def test_a_restored_analyzer_goes_on_byte_for_byte() -> None:
    straight, first = PatternAnalyzer(), PatternAnalyzer()
    for analyzer in (straight, first):
        feed(analyzer, [10] * 60)
    encoded = msgspec.msgpack.encode(first.state())
    second = PatternAnalyzer(state=msgspec.msgpack.decode(encoded, type=PatternState))
    for analyzer in (straight, second):
        feed(analyzer, [30] * 30, start=60 * HOUR)
    now = START + 90 * HOUR + SECOND
    assert second.analyze(now) == straight.analyze(now)
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())
