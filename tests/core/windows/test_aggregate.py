import math
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.windows import Aggregate, Tally
from optimizer.core.windows.aggregate import AggregateState

numbers = st.one_of(st.just(0.0), st.floats(1e-3, 1e6), st.floats(-1e6, -1e-3))


def of(values: list[float]) -> Aggregate:
    made = Aggregate()
    for value in values:
        made.add(value)
    return made


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=60))
def test_a_summary_says_what_the_values_say(values: list[float]) -> None:
    summary = of(values).summary()
    assert summary is not None
    scale = max(abs(v) for v in values) or 1.0
    assert summary.count == len(values)
    assert (summary.minimum, summary.maximum) == (min(values), max(values))
    assert summary.total == pytest.approx(math.fsum(values), abs=1e-9 * scale * len(values))
    assert summary.mean == pytest.approx(statistics.fmean(values), abs=1e-9 * scale)
    if len(values) == 1:
        assert summary.variance is None
    else:
        assert summary.variance == pytest.approx(statistics.variance(values), rel=1e-6, abs=1e-6 * scale)
    ranked = sorted(values)
    for q, found in ((0.5, summary.p50), (0.95, summary.p95), (0.99, summary.p99)):
        assert found == pytest.approx(ranked[int(q * (len(values) - 1))], rel=0.0100001)


@settings(deadline=None)
@given(st.lists(numbers, max_size=40), st.lists(numbers, max_size=40))
def test_merging_equals_one_pass(left: list[float], right: list[float]) -> None:
    merged, whole = of(left), of(left + right)
    merged.merge(of(right))
    a, b = merged.summary(), whole.summary()
    if a is None or b is None:
        assert a is b
        return
    assert (a.count, a.minimum, a.maximum, a.p50, a.p99) == (b.count, b.minimum, b.maximum, b.p50, b.p99)
    scale = max(abs(b.minimum), abs(b.maximum), 1.0)
    assert a.mean == pytest.approx(b.mean, abs=1e-9 * scale)
    assert (a.variance or 0.0) == pytest.approx(b.variance or 0.0, rel=1e-6, abs=1e-6 * scale)


@settings(deadline=None)
@given(st.lists(numbers, max_size=40), st.lists(numbers, max_size=20))
def test_restore_continues_byte_for_byte(before: list[float], after: list[float]) -> None:
    straight = of(before)
    encoded = msgspec.msgpack.encode(straight.state())
    restored = Aggregate.restore(msgspec.msgpack.decode(encoded, type=AggregateState))
    for value in after:
        straight.add(value)
        restored.add(value)
    assert msgspec.msgpack.encode(restored.state()) == msgspec.msgpack.encode(straight.state())


def test_an_event_with_a_value_that_is_none_or_broken_is_counted_as_it_should() -> None:
    tally = Tally()
    tally.add({"latency_ms": None, "cost_usd": 0.5})
    with pytest.raises(ValueError, match="latency_ms"):
        tally.add({"cost_usd": 1.0, "latency_ms": math.nan})
    assert tally.events == 1
    assert list(tally.summaries()) == ["cost_usd"]
    assert tally.summaries()["cost_usd"].total == 0.5
