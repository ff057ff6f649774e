"""The metrics of the founding document are there, and two registries do not clash."""

from itertools import pairwise

import trio

from optimizer.observability import ResourceMeter, make_metrics, sample_resources
from optimizer.observability.metrics import DURATION_BUCKETS


def test_names_and_labels_of_the_founding_document() -> None:
    metrics = make_metrics()
    metrics.service_status.labels("storage").set(1)
    metrics.service_health.labels("storage").set(1)
    metrics.service_uptime_seconds.labels("storage").set(5)
    metrics.request_done("decide", "200", 0.003)
    metrics.active_connections.labels("rest_api").set(2)
    text = metrics.expose().decode()
    for line in (
        'service_status{service="storage"} 1.0',
        'service_health{service="storage"} 1.0',
        'service_uptime_seconds{service="storage"} 5.0',
        'requests_total{operation="decide",status="200"} 1.0',
        'request_duration_seconds_bucket{le="0.004",operation="decide",status="200"} 1.0',
        'request_duration_seconds_count{operation="decide",status="200"} 1.0',
        'active_connections{service="rest_api"} 2.0',
    ):
        assert line in text
    assert "# TYPE memory_usage_bytes gauge" in text
    assert "# TYPE cpu_usage_percent gauge" in text


def test_buckets_are_ten_doublings_from_a_millisecond() -> None:
    assert len(DURATION_BUCKETS) == 10
    assert DURATION_BUCKETS[0] == 0.001
    assert all(b == 2 * a for a, b in pairwise(DURATION_BUCKETS))


def test_two_registries_do_not_share_anything() -> None:
    one, other = make_metrics(), make_metrics()
    one.request_done("decide", "200", 0.1)
    assert "decide" not in other.expose().decode()


def test_a_resource_sample_is_plausible() -> None:
    sample = ResourceMeter().sample()
    assert sample.memory_bytes > 1_000_000
    assert sample.descriptors >= 3
    assert sample.threads >= 1
    assert sample.cpu_percent >= 0


async def test_samples_are_taken_every_interval(autojump_clock: trio.testing.MockClock) -> None:
    metrics = make_metrics()
    with trio.move_on_after(25):
        await sample_resources(metrics, interval_s=10)
    memory, threads = (metrics.registry.get_sample_value(name) for name in ("memory_usage_bytes", "threads"))
    assert memory is not None
    assert memory > 1_000_000
    assert threads is not None
    assert threads >= 1
