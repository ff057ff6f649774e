import math
import random

import msgspec
import pytest

from optimizer.core.anomaly import AnomalyMonitor, MonitorState, series_key
from optimizer.core.anomaly import monitor as monitor_module
from optimizer.model import MetricSample


def sample(i: int, value: float, name: str = "m", **tags: str) -> MetricSample:
    return MetricSample(name=name, value=value, timestamp=i * 60_000_000, received_at=0, tags=tags)


def test_the_alert_carries_the_time_of_the_point_that_raised_it() -> None:
    rng = random.Random(3)
    monitor = AnomalyMonitor()
    found = [monitor.observe(sample(i, rng.gauss(100, 3))) for i in range(600)]
    assert not any(found)
    assert monitor.observe(sample(600, 900.0, model="b")) is None, "other tags are another series"
    alert = monitor.observe(sample(600, 900.0))
    assert alert is not None
    assert (alert.metric, alert.timestamp, alert.value) == ("m", 600 * 60_000_000, 900.0)
    assert alert.severity == "critical"
    assert alert.expected == pytest.approx(100, abs=2)


def test_what_is_not_a_number_is_counted_and_not_learnt() -> None:
    monitor = AnomalyMonitor()
    for value in (math.nan, math.inf, -math.inf):
        assert monitor.observe(sample(0, value)) is None
    assert monitor.refused == 3
    assert monitor.samples("m") == 0


def test_series_are_bounded_and_the_one_unused_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "MAX_SERIES", 2)
    monitor = AnomalyMonitor()
    for name in ("a", "b", "a", "c"):
        monitor.observe(sample(0, 1.0, name))
    assert (monitor.samples("a"), monitor.samples("b"), monitor.samples("c")) == (2, 0, 1)
    assert monitor.evicted == 1


def test_a_monitor_restored_whole_or_series_by_series_is_the_same() -> None:
    rng = random.Random(2)
    monitor = AnomalyMonitor()
    for i in range(300):
        monitor.observe(sample(i, rng.random(), rng.choice("ab")))
    encoded = msgspec.msgpack.encode(monitor.state())
    whole = AnomalyMonitor(msgspec.msgpack.decode(encoded, type=MonitorState))
    single = AnomalyMonitor()
    for key in monitor.state().series:
        state = monitor.series_state(key)
        assert state is not None
        single.restore_series(key, state)
    assert msgspec.msgpack.encode(whole.state()) == encoded
    assert msgspec.msgpack.encode(single.state()) == encoded


def test_the_order_of_tags_does_not_matter() -> None:
    assert series_key(sample(0, 1.0, a="1", b="2")) == series_key(sample(0, 1.0, b="2", a="1"))
    assert series_key(sample(0, 1.0, a="1")) != series_key(sample(0, 1.0, a="2"))
