import math
import random
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.drift import DriftMonitor, DriftSettings, FingerprintDetector, RankDetector, ShareDetector
from optimizer.core.drift import monitor as monitor_module
from optimizer.core.drift.fingerprint import MAX_CATEGORIES
from optimizer.model import FeedbackEvent

SETTINGS = DriftSettings()


def call(i: int, **reported: object) -> FeedbackEvent:
    fields = {"event_id": str(i), "service": "s", "variant": "v", "occurred_at": i, "received_at": i, **reported}
    return FeedbackEvent(**fields)  # type: ignore[arg-type]


def test_scores_that_vary_little_are_watched_more_sharply_than_zeros_and_ones() -> None:
    rng = random.Random(4)
    detector = ShareDetector.watching(SETTINGS, -1)
    for i in range(1_000):
        assert detector.add(min(1.0, max(0.0, rng.gauss(0.9, 0.03))), i) is None
    delay = next(i for i in range(700) if detector.add(min(1.0, max(0.0, rng.gauss(0.8, 0.03))), 1_000 + i))
    assert delay < 60


def test_a_found_shift_becomes_the_new_normal_and_is_not_reported_again() -> None:
    rng = random.Random(5)
    detector = ShareDetector.watching(SETTINGS, -1)
    shifts = []
    for i in range(6_000):
        shift = detector.add(float(rng.random() < (0.9 if i < 1_000 else 0.6)), i)
        if shift:
            shifts.append(i)
    assert len(shifts) == 1
    assert any(detector.add(float(rng.random() < 0.3), 6_000 + i) for i in range(200)), "it is armed again"


def test_a_change_too_small_to_matter_is_not_reported() -> None:
    rng = random.Random(6)
    detector = ShareDetector.watching(DriftSettings(average_run_length=10_000.0, minimum_drop=0.6), -1)
    assert not any(detector.add(float(rng.random() < (0.9 if i < 1_000 else 0.75)), i) for i in range(2_000))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_of_a_metric_does_not_matter(unit: float) -> None:
    rng = random.Random(7)
    detector = RankDetector.watching(SETTINGS, 1)
    values = [unit * rng.lognormvariate(6, 1) * (1 if i < 1_000 else 2) for i in range(1_700)]
    found = [(i, shift) for i, value in enumerate(values) if (shift := detector.add(value, i))]
    at, shift = found[0]
    assert 1_000 <= at < 1_150
    assert shift.raw_after / shift.raw_before == pytest.approx(2, rel=0.5)


def test_stable_heavy_tailed_and_lumpy_streams_raise_no_alarm() -> None:
    for seed in range(8):
        rng = random.Random(seed)
        tail, lumps = RankDetector.watching(SETTINGS, 1), RankDetector.watching(SETTINGS, 1)
        for i in range(1_700):
            assert tail.add(rng.paretovariate(1.1), i) is None
            assert lumps.add(0.0 if rng.random() < 0.4 else rng.lognormvariate(-7, 2), i) is None


def test_a_silent_change_of_the_answering_model_is_seen_after_a_few_calls() -> None:
    detector = FingerprintDetector(SETTINGS.average_run_length)
    assert all(detector.add("m-2026-01", i) is None for i in range(1_000))
    found = [detector.add("m-2026-05", 1_000 + i) for i in range(10)]
    hit = next(x for x in found if x)
    assert hit[0] == "m-2026-05"
    assert hit[1].changed_at == 999
    assert found.index(hit) < 8


def test_a_stable_mix_of_answerers_raises_no_alarm_and_a_changed_mix_does() -> None:
    rng = random.Random(8)
    detector = FingerprintDetector(SETTINGS.average_run_length)
    assert not any(detector.add("a" if rng.random() < 0.9 else "b", i) for i in range(3_000))
    assert any(detector.add("a" if rng.random() < 0.5 else "b", 3_000 + i) for i in range(100))


def test_names_without_end_are_bounded() -> None:
    detector = FingerprintDetector(SETTINGS.average_run_length)
    for i in range(2_000):
        detector.add(f"m{i}", i)
    assert len(detector.scans) <= MAX_CATEGORIES + 1


def test_the_monitor_says_what_changed_when_and_for_whom() -> None:
    rng = random.Random(9)
    monitor = DriftMonitor()
    alerts = []
    for i in range(1_700):
        quality = float(rng.random() < (0.85 if i < 1_000 else 0.55))
        alerts += monitor.observe(call(i, quality=quality, latency_ms=rng.lognormvariate(6, 0.5)))
    assert [alert.metric for alert in alerts] == ["quality"]
    alert = alerts[0]
    assert (alert.service, alert.variant, alert.direction, alert.harmful) == ("s", "v", "down", True)
    assert 1_000 <= alert.timestamp < 1_110
    assert abs(alert.changed_at - 999) < 30
    assert alert.before == pytest.approx(0.85, abs=0.05)
    assert -0.7 < alert.effect < -0.1  # found early when it looks large


def test_unknown_values_are_not_counted_and_failed_calls_have_no_latency() -> None:
    monitor = DriftMonitor()
    for i in range(100):
        monitor.observe(call(i, error_type="timeout", latency_ms=9e9))
    (stream,) = monitor.streams.values()
    assert list(stream.shares) == ["error_rate"]
    assert stream.ranks == {}


def test_what_is_no_number_is_not_counted() -> None:
    monitor = DriftMonitor()
    monitor.observe(call(0, quality=1.5, latency_ms=math.nan, cost_usd=Decimal("NaN")))
    (stream,) = monitor.streams.values()
    assert list(stream.shares) == ["error_rate"]
    assert stream.ranks == {}
    with pytest.raises(ValueError, match="quality"):
        monitor.observe_value("s", "v", "quality", math.nan, 0)


def test_streams_are_bounded_and_the_one_unused_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "MAX_STREAMS", 3)
    monitor = DriftMonitor()
    for name in ("a", "b", "c", "a", "d"):
        monitor.observe_value("s", name, "quality", 1.0, 0)
    assert [key.split("\x1f")[1] for key in monitor.streams] == ["c", "a", "d"]
    assert monitor.evicted == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 400), st.integers(0, 2**32))
def test_a_restored_monitor_goes_on_byte_for_byte(cut: int, seed: int) -> None:
    rng = random.Random(seed)
    events = [
        call(
            i,
            quality=float(rng.random() < (0.9 if i < 250 else 0.2)),
            latency_ms=rng.expovariate(1) * (1 if i < 250 else 9),
            error_type="x" if rng.random() < 0.1 else None,
            response_model="a" if i < 300 else "b",
        )
        for i in range(400)
    ]
    straight, first = DriftMonitor(), DriftMonitor()
    expected = [straight.observe(event) for event in events]
    got = [first.observe(event) for event in events[:cut]]
    encoded = msgspec.msgpack.encode(first)
    second = msgspec.msgpack.decode(encoded, type=DriftMonitor)
    assert msgspec.msgpack.encode(second) == encoded
    got += [second.observe(event) for event in events[cut:]]
    assert got == expected
    assert msgspec.msgpack.encode(second) == msgspec.msgpack.encode(straight)


def test_starting_over_forgets_the_stream() -> None:
    monitor = DriftMonitor()
    monitor.observe_value("s", "v", "quality", 1.0, 0)
    monitor.forget("s", "v")
    assert monitor.streams == {}
