import random

import msgspec
import pytest

from optimizer.core import records, watching
from optimizer.core.anomaly import monitor
from optimizer.core.watching import NAMES, SERIES, Watch, restore_watch
from optimizer.model import MetricSample


def test_an_episode_of_a_series_is_one_alert_and_its_end_is_none() -> None:
    rng, watch, raised = random.Random(3), Watch(), []
    for i in range(1_000):
        value = rng.gauss(100, 3) + (80 if 700 <= i < 720 else 0)
        sample = MetricSample(name="m", value=value, timestamp=i * 60_000_000, received_at=0)
        raised += watch.apply(i + 1, records.METRIC, msgspec.msgpack.encode(sample))
    found = [(alert.alert_type, alert.at // 60_000_000) for alert in raised if alert.at >= 700 * 60_000_000]
    assert found == [("anomaly", 700)]


def test_the_document_of_a_series_that_gave_way_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "MAX_SERIES", 2)
    watch, stored = Watch(), dict[str, bytes]()
    for i, name in enumerate("abacbd"):
        sample = MetricSample(name=name, value=1.0, timestamp=i, received_at=0)
        watch.apply(i + 1, records.METRIC, msgspec.msgpack.encode(sample))
        for key, body in watch.documents():
            if body is None:
                stored.pop(key, None)
            else:
                stored[key] = body
        watch.changes.clear()
        assert sum(key.startswith(SERIES) for key in stored) <= 2


def test_the_metric_name_used_longest_ago_gives_way_also_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_NAMES", 3)
    through, watch, stored = Watch(), Watch(), dict[str, bytes]()
    for i, name in enumerate("zabzcdae"):
        sample = MetricSample(name=name, value=1.0, timestamp=9 - i, received_at=0)  # event time is not the order
        payload = msgspec.msgpack.encode(sample)
        through.apply(i + 1, records.METRIC, payload)
        watch.apply(i + 1, records.METRIC, payload)
        for key, body in watch.documents():
            if body is None:
                stored.pop(key, None)
            else:
                stored[key] = body
        watch = restore_watch(i + 1, stored.items())
        assert sum(key.startswith(NAMES) for key in stored) == len(watch.seen) <= 3
    assert list(watch.seen) == ["d", "a", "e"]
    assert list(watch.seen.values()) == list(through.seen.values())
    assert watch.seen["a"].samples == 1  # it had given way, and was counted anew
    assert through.names_gone == 4
