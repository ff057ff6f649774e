import random

import msgspec

from optimizer.core import records
from optimizer.core.watching import Watch
from optimizer.model import MetricSample


def test_an_episode_of_a_series_is_one_alert_and_its_end_is_none() -> None:
    rng, watch, raised = random.Random(3), Watch(), []
    for i in range(1_000):
        value = rng.gauss(100, 3) + (80 if 700 <= i < 720 else 0)
        sample = MetricSample(name="m", value=value, timestamp=i * 60_000_000, received_at=0)
        raised += watch.apply(i + 1, records.METRIC, msgspec.msgpack.encode(sample))
    found = [(alert.alert_type, alert.at // 60_000_000) for alert in raised if alert.at >= 700 * 60_000_000]
    assert found == [("anomaly", 700)]
