import msgspec

from optimizer.core.analyzers import QualityAnalyzer, QualityState, Report
from optimizer.core.analyzers.values import MINUTE, SECOND
from tests.core.analyzers.calls import START, call, steady


def kinds(report: Report) -> dict[str, str]:
    return {insight.kind: insight.severity for insight in report.insights}


def run(
    analyzer: QualityAnalyzer,
    minutes: float,
    start: float = 0.0,
    *,
    errors: float = 0.0,
    quality: float = 0.9,
    rating: float | None = None,
    latency: float = 300.0,
) -> Report:
    for time, rng in steady(minutes * 60, 0.5, start * 60, seed=int(start) + 1):
        analyzer.observe(
            call(
                time,
                latency_ms=latency * rng.uniform(0.5, 1.5),
                error_type="http_500" if rng.random() < errors else None,
                quality=float(rng.random() < quality),
                rating=None if rating is None else min(5.0, max(0.0, rng.gauss(rating, 0.7))),
            )
        )
    return analyzer.analyze(START + int((start + minutes) * MINUTE) + SECOND)


def test_a_healthy_service_has_numbers_and_no_insight() -> None:
    report = run(QualityAnalyzer(), 6, rating=4.6)
    numbers = report.metrics["s"]
    assert abs(numbers["quality"] - 0.9) < 0.05
    assert numbers["success_rate"] == numbers["sla_compliance"] == numbers["p95_met"] == numbers["p99_met"] == 1.0
    assert not report.insights
    assert not report.alerts


def test_error_rates_are_told_by_how_certainly_they_exceed_their_limits() -> None:
    assert kinds(run(QualityAnalyzer(), 6, errors=0.03))["high_error_rate"] == "warning"
    assert kinds(run(QualityAnalyzer(), 6, errors=0.2))["high_error_rate"] == "critical"
    few = QualityAnalyzer()
    for time, _ in steady(9, 1.0):
        few.observe(call(time, error_type="x"))
    assert kinds(few.analyze(START + MINUTE)) == {}, "nine calls say nothing"


def test_slow_answers_break_the_service_level() -> None:
    report = run(QualityAnalyzer(), 6, latency=2_500.0)
    assert kinds(report) == {"sla_missed": "critical"}
    assert report.metrics["s"]["p99_met"] == 0.0
    assert [alert.metric for alert in report.alerts] == ["sla_compliance"]


def test_low_ratings_are_told_and_ratings_off_the_scale_are_not_averaged() -> None:
    analyzer = QualityAnalyzer()
    assert kinds(run(analyzer, 6, rating=3.4)) == {"low_rating": "warning"}
    analyzer.observe(call(6 * MINUTE, rating=97.0))
    assert analyzer.off_scale == 1


def test_a_fall_of_quality_is_an_insight_and_no_alert() -> None:
    analyzer = QualityAnalyzer()
    assert kinds(run(analyzer, 30)) == {}
    report = run(analyzer, 6, 30, quality=0.6)
    assert kinds(report) == {"quality_degradation": "warning"}
    assert report.alerts == ()
    assert report.insights[0].evidence["standard_errors"] > 3


def test_scores_that_come_later_count() -> None:
    analyzer = QualityAnalyzer()
    for time, _ in steady(60):
        analyzer.observe_score("s", 0.25, START + time, START + time)
    assert analyzer.analyze(START + MINUTE).metrics["s"] == {"quality": 0.25}


def test_a_restored_analyzer_goes_on_byte_for_byte() -> None:
    straight, first = QualityAnalyzer(), QualityAnalyzer()
    run(straight, 8, errors=0.1, rating=3.0)
    run(first, 8, errors=0.1, rating=3.0)
    encoded = msgspec.msgpack.encode(first.state())
    second = QualityAnalyzer(state=msgspec.msgpack.decode(encoded, type=QualityState))
    assert run(second, 7, 8) == run(straight, 7, 8)
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())
