import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.sketch import MAX_BUCKETS, RELATIVE_ERROR, QuantileSketch, SketchState

ordinary = st.one_of(st.just(0.0), st.floats(1e-6, 1e9))
"""Zero and values within a factor of 1e15 of one another: nothing collapses."""

anything = st.floats(0.0, 1e300)


@settings(deadline=None)
@given(st.lists(ordinary, min_size=1), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_every_quantile_is_within_one_percent(values: list[float], qs: list[float]) -> None:
    sketch = QuantileSketch.of(values)
    ranked = sorted(values)
    for q, found in zip(qs, sketch.quantiles(qs), strict=True):
        exact = ranked[int(q * (len(values) - 1))]
        assert found == pytest.approx(exact, rel=RELATIVE_ERROR * (1 + 1e-9), abs=0.0)


@settings(deadline=None)
@given(st.lists(anything), st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], rng: random.Random) -> None:
    shuffled = list(values)
    rng.shuffle(shuffled)
    assert QuantileSketch.of(values).state() == QuantileSketch.of(shuffled).state()


@settings(deadline=None)
@given(st.lists(st.lists(anything), min_size=1, max_size=5))
def test_merging_parts_equals_one_sketch_over_all(parts: list[list[float]]) -> None:
    merged = QuantileSketch()
    for part in parts:
        merged.merge(QuantileSketch.of(part))
    assert merged.state() == QuantileSketch.of(value for part in parts for value in part).state()


@settings(deadline=None)
@given(st.lists(anything), st.lists(anything))
def test_restore_continues_as_if_nothing_happened(before: list[float], after: list[float]) -> None:
    straight = QuantileSketch.of(before)
    encoded = msgspec.msgpack.encode(straight.state())
    restored = QuantileSketch.restore(msgspec.msgpack.decode(encoded, type=SketchState))
    assert msgspec.msgpack.encode(restored.state()) == encoded
    for value in after:
        straight.add(value)
        restored.add(value)
    assert restored == straight


@settings(deadline=None)
@given(st.lists(anything, min_size=1))
def test_memory_is_bounded_and_nothing_is_lost(values: list[float]) -> None:
    sketch = QuantileSketch.of(values)
    zeros, minimum, maximum, pairs = sketch.state()
    assert len(pairs) <= MAX_BUCKETS
    assert zeros + sum(times for _, times in pairs) == sketch.count == len(values)
    assert (minimum, maximum) == (min(values), max(values))


def test_values_too_small_to_keep_apart_collapse_and_stay_counted() -> None:
    sketch = QuantileSketch.of(10.0**e for e in range(-10, 20))
    assert sketch.count == 30
    assert sketch.quantile(1.0) == 1e19
    assert sketch.quantile(0.5) == pytest.approx(1e4, rel=RELATIVE_ERROR)


@pytest.mark.parametrize("value", [-1.0, -1e-300, math.nan, math.inf, -math.inf])
def test_refuses_what_it_cannot_count(value: float) -> None:
    sketch = QuantileSketch()
    with pytest.raises(ValueError, match="finite values"):
        sketch.add(value)
    assert sketch.count == 0


def test_an_empty_sketch_knows_nothing() -> None:
    sketch = QuantileSketch()
    assert sketch.quantile(0.5) is None
    assert sketch.share_above(1.0) is None
    assert QuantileSketch.restore(sketch.state()) == sketch


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_refuses_a_quantile_outside_0_and_1(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        QuantileSketch.of([1.0]).quantile(q)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0]), min_size=1), st.sampled_from([0.0, 0.5, 1.5, 3.0, 6.0, 9.0])
)
def test_share_above_counts_what_exceeds_the_limit(values: list[float], limit: float) -> None:
    assert QuantileSketch.of(values).share_above(limit) == sum(v > limit for v in values) / len(values)
