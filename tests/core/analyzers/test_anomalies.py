import random

import msgspec

from optimizer.core.analyzers import AnomalyAnalyzer, AnomalyState, Report
from optimizer.core.analyzers.values import MINUTE, SECOND
from optimizer.core.anomaly import AnomalyAlert
from optimizer.model import MetricSample
from tests.core.analyzers.calls import START, call


def feed(
    analyzer: AnomalyAnalyzer,
    minutes: int,
    start: int = 0,
    *,
    rate: int = 40,
    errors: float = 0.0,
    latency: float = 300.0,
) -> list[AnomalyAlert]:
    rng, out = random.Random(start), []
    for minute in range(start, start + minutes):
        count = rate
        for i in range(count):
            out += analyzer.observe(
                call(
                    minute * MINUTE + i * MINUTE // count,
                    latency_ms=rng.gauss(latency, 0.1 * latency),
                    error_type="x" if rng.random() < errors else None,
                )
            )
    return out


def kinds(report: Report) -> dict[str, str]:
    return {insight.kind: insight.severity for insight in report.insights}


def test_every_minute_of_a_service_is_judged_against_its_own_past() -> None:
    analyzer = AnomalyAnalyzer()
    feed(analyzer, 250)
    found = feed(analyzer, 10, 250, latency=900.0)
    assert found
    alert = found[0]
    assert (alert.metric, alert.tags) == ("calls.latency_ms", {"service": "s"})
    assert START + 251 * MINUTE <= alert.timestamp <= START + 255 * MINUTE
    report = analyzer.analyze(START + 260 * MINUTE + SECOND)
    assert any(kind.startswith("anomalous_") for kind in kinds(report))
    assert not any(kind.startswith("anomalous_") for kind in kinds(analyzer.analyze(START + 260 * MINUTE + 2 * SECOND)))


def test_silence_is_a_minute_without_requests() -> None:
    analyzer = AnomalyAnalyzer()
    feed(analyzer, 60)
    report = analyzer.analyze(START + 64 * MINUTE + SECOND)
    assert kinds(report) == {"volume_anomaly": "error"}
    assert report.metrics["s"]["requests_per_minute"] == 0.0


def test_volume_has_three_degrees_against_the_past_hour() -> None:
    for rate, severity in ((120, "critical"), (75, "error"), (68, "warning"), (44, None)):
        analyzer = AnomalyAnalyzer()
        feed(analyzer, 60)
        feed(analyzer, 3, 60, rate=rate)
        assert kinds(analyzer.analyze(START + 63 * MINUTE + SECOND)).get("volume_anomaly") == severity, rate


def test_many_errors_in_a_minute() -> None:
    analyzer = AnomalyAnalyzer()
    feed(analyzer, 10)
    feed(analyzer, 3, 10, errors=0.5)
    assert kinds(analyzer.analyze(START + 13 * MINUTE + SECOND))["error_burst"] == "critical"


def test_metric_samples_are_judged_at_once_and_several_together_are_told_as_one() -> None:
    rng, analyzer = random.Random(1), AnomalyAnalyzer()
    alerts = []
    for minute in range(403):
        for name in "abcd":
            value = rng.gauss(10, 1) + (80 if minute >= 400 else 0)
            sample = MetricSample(name=name, value=value, timestamp=START + minute * MINUTE, received_at=0)
            alerts.append(analyzer.observe_sample(sample))
    assert {a.metric for a in alerts if a is not None and a.timestamp == START + 400 * MINUTE} == set("abcd")
    report = analyzer.analyze(START + 403 * MINUTE)
    assert kinds(report)["collective_anomaly"] == "error"
    assert analyzer.monitor.samples("a") == 403


def test_an_event_after_its_minute_was_judged_is_counted_as_late() -> None:
    analyzer = AnomalyAnalyzer()
    feed(analyzer, 5)
    analyzer.observe(call(0))
    assert analyzer.state().services["s"].late == 1


def test_a_restored_analyzer_goes_on_byte_for_byte() -> None:
    straight, first = AnomalyAnalyzer(), AnomalyAnalyzer()
    for analyzer in (straight, first):
        feed(analyzer, 120)
    encoded = msgspec.msgpack.encode(first.state())
    second = AnomalyAnalyzer(state=msgspec.msgpack.decode(encoded, type=AnomalyState))
    assert msgspec.msgpack.encode(second.state()) == encoded
    assert feed(second, 60, 120, latency=600.0) == feed(straight, 60, 120, latency=600.0)
    now = START + 181 * MINUTE
    assert second.analyze(now) == straight.analyze(now)
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())
