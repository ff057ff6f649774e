import math

import msgspec

from optimizer.core.analyzers import PerformanceAnalyzer, PerformanceState, Report
from optimizer.core.analyzers.values import MINUTE, SECOND
from tests.core.analyzers.calls import START, call, steady


def kinds(report: Report) -> dict[str, str]:
    return {insight.kind: insight.severity for insight in report.insights}


def run(analyzer: PerformanceAnalyzer, minutes: float, mean: float, start: float = 0.0, errors: float = 0.0) -> Report:
    for time, rng in steady(minutes * 60, 0.5, start * 60, seed=int(start)):
        failed = "timeout" if rng.random() < errors else None
        analyzer.observe(call(time, latency_ms=rng.uniform(0.5 * mean, 1.5 * mean), error_type=failed))
    return analyzer.analyze(START + int((start + minutes) * MINUTE) + SECOND)


def test_a_healthy_service_has_numbers_and_no_insight() -> None:
    report = run(PerformanceAnalyzer(), 10, 400)
    numbers = report.metrics["s"]
    assert abs(numbers["latency_p95_ms"] - 580) < 20
    assert abs(numbers["latency_p50_ms"] - 400) < 20
    assert numbers["success_rate"] == 1.0
    assert abs(numbers["throughput_ema_rps"] - 2.0) < 0.1
    assert not report.insights
    assert not report.alerts


def test_latency_above_its_limits_is_told_with_its_numbers() -> None:
    warning = run(PerformanceAnalyzer(), 6, 900)
    assert kinds(warning) == {"high_latency": "warning"}
    assert warning.insights[0].evidence["low"] > 0.05
    critical = run(PerformanceAnalyzer(), 6, 6_000)
    assert kinds(critical)["high_latency"] == "critical"
    assert [alert.alert_type for alert in critical.alerts] == ["high_latency"]
    assert critical.recommendations[0].priority == "urgent"


def test_a_p95_just_over_the_limit_by_chance_is_no_insight() -> None:
    analyzer = PerformanceAnalyzer()
    for time, _ in steady(60, 2.0):
        analyzer.observe(call(time, latency_ms=1_500.0 if time % (20 * SECOND) == 0 else 500.0))
    assert kinds(analyzer.analyze(START + MINUTE)) == {}  # 3 of 30 slow, which could be 5 % of all


def test_slower_than_its_own_past_hour_is_told_below_every_limit() -> None:
    analyzer = PerformanceAnalyzer()
    assert kinds(run(analyzer, 40, 200)) == {}
    report = run(analyzer, 5, 350, start=40)
    assert kinds(report) == {"latency_degradation": "critical"}
    assert abs(report.insights[0].evidence["usual_ms"] - 290) < 20


def test_failing_calls_are_told_and_do_not_count_for_latency() -> None:
    analyzer = PerformanceAnalyzer()
    report = run(analyzer, 6, 300, errors=0.2)
    assert kinds(report) == {"low_success_rate": "error"}
    assert kinds(run(analyzer, 6, 300, start=6, errors=0.08)) == {"low_success_rate": "warning"}


def test_traffic_that_dried_up_is_a_warning_and_a_small_service_is_not() -> None:
    analyzer = PerformanceAnalyzer()
    run(analyzer, 20, 300)
    report = analyzer.analyze(START + 40 * MINUTE)
    assert kinds(report) == {"low_throughput": "warning"}
    small = PerformanceAnalyzer()
    for time, _ in steady(1_800, 10.0):
        small.observe(call(time, latency_ms=5.0))
    assert kinds(small.analyze(START + 30 * MINUTE)) == {"low_throughput": "info"}


def test_history_that_arrives_much_later_is_analysed_in_its_own_time() -> None:
    analyzer = PerformanceAnalyzer()
    loaded = START + 10**15
    for i, (time, _) in enumerate(steady(600)):
        analyzer.observe(call(time, latency_ms=9_000.0, received_at=loaded + i * 1_000))
    report = analyzer.analyze(loaded + SECOND)
    assert kinds(report)["high_latency"] == "critical"
    assert abs(report.alerts[0].timestamp - (START + 600 * SECOND)) < 5 * SECOND


def test_a_sender_whose_clock_is_far_ahead_does_not_end_time() -> None:
    analyzer = PerformanceAnalyzer()
    run(analyzer, 2, 300)
    analyzer.observe(call(10**14, latency_ms=1.0, received_at=START + 2 * MINUTE))
    report = run(analyzer, 8, 300, start=2)
    assert report.metrics["s"]["requests"] > 300


def test_a_latency_that_is_no_number_is_refused_and_counted() -> None:
    analyzer = PerformanceAnalyzer()
    analyzer.observe(call(0, latency_ms=math.nan))
    analyzer.observe(call(1, latency_ms=5.0))
    assert analyzer.state().services["s"].refused == 1
    assert analyzer.analyze(START + MINUTE).metrics["s"]["requests"] == 1.0


def test_a_restored_analyzer_goes_on_byte_for_byte() -> None:
    straight, first = PerformanceAnalyzer(), PerformanceAnalyzer()
    run(straight, 12, 900)
    run(first, 12, 900)
    encoded = msgspec.msgpack.encode(first.state())
    second = PerformanceAnalyzer(state=msgspec.msgpack.decode(encoded, type=PerformanceState))
    assert msgspec.msgpack.encode(second.state()) == encoded
    assert run(second, 8, 2_000, start=12) == run(straight, 8, 2_000, start=12)
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())
