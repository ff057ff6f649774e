"""Evidence: counts what it is told, forgets by evidence, comes back from storage bit for bit."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.learning.evidence import MEMORY, Evidence

number = st.none() | st.floats(0, 1e6)
events = st.lists(st.tuples(st.none() | st.floats(0, 1), number, number, st.booleans()), max_size=60)


def fill(evidence: Evidence, calls: list[tuple[float | None, float | None, float | None, bool]]) -> Evidence:
    for quality, cost, latency, error in calls:
        evidence.observe(evidence.tick + 1, quality=quality, cost=cost, latency=latency, error=error)
    return evidence


@given(events, events)
def test_restored_evidence_continues_bit_for_bit(
    before: list[tuple[float | None, float | None, float | None, bool]],
    after: list[tuple[float | None, float | None, float | None, bool]],
) -> None:
    bounds = [(2, 100.0), (0, 0.5)]
    lived = fill(Evidence(bounds), before)
    stored = msgspec.msgpack.encode(lived.state())
    restored = Evidence.restore(msgspec.msgpack.decode(stored))
    assert restored.state() == lived.state()
    assert msgspec.msgpack.encode(fill(restored, after).state()) == msgspec.msgpack.encode(fill(lived, after).state())


def test_counts_known_values_only() -> None:
    evidence = Evidence([(2, 100.0)])
    evidence.observe(1, quality=0.5, cost=None, latency=50.0)
    evidence.observe(2, quality=None, cost=0.25, latency=150.0)
    evidence.observe(3, latency=7.0, error=True)
    weight = evidence.weight
    assert evidence.events == 3
    assert evidence.quality_s / evidence.quality_n == 0.5
    assert evidence.cost_s / evidence.cost_n == 0.25
    assert evidence.latency_n / weight == pytest.approx(2.0, rel=2 / MEMORY)
    assert evidence.outcomes / weight == pytest.approx(3.0, rel=3 / MEMORY)
    assert evidence.errors / weight == pytest.approx(1.0, rel=2 / MEMORY)
    assert evidence.above_n[0] / evidence.known_n[0] == pytest.approx(0.5, rel=1e-2)


def test_memory_is_bounded_and_follows() -> None:
    evidence = Evidence()
    for i in range(60_000):
        evidence.observe(i + 1, quality=1.0 if i < 55_000 else 0.0)
    assert evidence.quality_n / evidence.weight == pytest.approx(MEMORY, rel=1e-6)
    assert evidence.quality_s / evidence.quality_n == pytest.approx(2.718281828**-2.5, rel=1e-2)


def test_traffic_decays_with_the_events_of_the_service() -> None:
    busy, idle = Evidence(), Evidence()
    idle.observe(1)
    for tick in range(2, 5002):
        busy.observe(tick)
    idle.observe(5002)
    assert idle.traffic == pytest.approx(1.0 + 2.718281828**-1, rel=1e-3)
    assert busy.traffic == pytest.approx(5000 * (1 - 2.718281828**-1), rel=1e-3)


def test_forgetting_keeps_what_is_recent() -> None:
    evidence = Evidence()
    for i in range(1000):
        evidence.observe(i + 1, quality=1.0 if i < 960 else 0.0)
    assert evidence.quality_s / evidence.quality_n > 0.9
    evidence.forget()
    assert evidence.quality_s / evidence.quality_n == pytest.approx(0.98**40, rel=1e-6)
    assert evidence.quality_n / evidence.weight == pytest.approx(50, rel=1e-6)
    assert evidence.quality_ss == pytest.approx(evidence.quality_s)


def test_changed_bounds_keep_what_still_counts() -> None:
    evidence = Evidence([(2, 100.0), (2, 200.0)])
    evidence.observe(1, latency=150.0)
    evidence.rebound([(2, 300.0), (2, 100.0)])
    assert (evidence.known_n[0], evidence.above_n[0]) == (0.0, 0.0)
    assert evidence.known_n[1] == evidence.above_n[1] > 0.0


@pytest.mark.parametrize("state", [(2,), (1, 2, (), (), ()), (*Evidence().state()[:-1], (1.0,))])
def test_other_formats_are_refused(state: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"evidence|unpack"):
        Evidence.restore(state)
