import random
from math import log

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.drift.scan import MAX_VERTICES, MEMORY, STRIDE, ChangeScan, Shift

bounded = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0).map(lambda x: round(x, 3)))


def kl(q: float, p: float) -> float:
    """Bernoulli divergence, written independently of the source."""
    out = 0.0
    if q > 0:
        out += q * log(q / p)
    if q < 1:
        out += (1 - q) * log((1 - q) / (1 - p))
    return out


def ratio(values: list[float], k: int) -> float:
    """The likelihood ratio of one split."""
    n, mean = len(values), sum(values) / len(values)
    return k * kl(sum(values[:k]) / k, mean) + (n - k) * kl(sum(values[k:]) / (n - k), mean)


def exhaustive(values: list[float], direction: int, first: int) -> float:
    """The largest likelihood ratio of 0/1 values over every split, without any pruning."""
    n, best = len(values), 0.0
    for k in range(first, n):
        if (sum(values[k:]) / (n - k) - sum(values[:k]) / k) * direction > 0:
            best = max(best, ratio(values, k))
    return best


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=12, max_size=60), st.sampled_from([-1, 1]))
def test_pruning_misses_no_split(values: list[float], direction: int) -> None:
    values = [*values, 0.0 if direction < 0 else 1.0]  # the last value has to point the way that is looked at
    scan = ChangeScan(-1.0 if direction < 0 else None, -1.0 if direction > 0 else None, minimum_before=5)
    found = [scan.add(value, value, i) for i, value in enumerate(values)][-1]
    expected = exhaustive(values, direction, 5)
    assert (found.evidence if found else 0.0) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=12, max_size=60))
def test_a_value_on_the_far_side_never_raises_the_evidence(values: list[float]) -> None:
    splits = range(5, len(values))
    for k in splits:
        n = len(values)
        now, then = values, [*values, 1.0]
        if sum(then[k:]) / (n + 1 - k) < sum(now[:k]) / k:
            assert ratio(then, k) <= ratio(now, k) + 1e-9


def test_a_fall_is_found_soon_and_placed_right() -> None:
    rng = random.Random(1)
    delays, places = [], []
    for _ in range(40):
        scan = ChangeScan(13.0, 15.0)
        for i in range(1_700):
            value = float(rng.random() < (0.82 if i < 1_000 else 0.59))
            shift = scan.add(value, value, i)
            if shift is not None:
                assert shift.direction == -1
                delays.append(i - 999)
                places.append(shift.changed_at - 999)
                break
    assert len(delays) == 40
    assert sorted(delays)[20] <= 110
    assert abs(sorted(places)[20]) <= 10


@pytest.mark.parametrize("p", [0.02, 0.5, 0.8, 0.97])
def test_the_run_length_to_a_false_alarm_is_at_least_the_declared_one(p: float) -> None:
    """At limit log(A) the share of streams of A/8 events with an alarm is at most 1/8 (plus three sigma)."""
    declared, streams = 4_000, 240
    alarms = 0
    for seed in range(streams):
        rng = random.Random(f"{p}/{seed}")
        scan = ChangeScan(log(declared), None)
        for i in range(declared // 8):
            value = float(rng.random() < p)
            if scan.add(value, value, i) is not None:
                alarms += 1
                break
    expected = streams / 8
    assert alarms <= expected + 3 * expected**0.5


@settings(deadline=None)
@given(st.lists(bounded, max_size=200), st.lists(bounded, max_size=100))
def test_restore_continues_as_if_nothing_happened(before: list[float], after: list[float]) -> None:
    straight = ChangeScan(3.0, 3.0, minimum_before=5)
    for i, value in enumerate(before):
        straight.add(value, value, i)
    encoded = msgspec.msgpack.encode(straight)
    restored = msgspec.msgpack.decode(encoded, type=ChangeScan)
    assert msgspec.msgpack.encode(restored) == encoded
    for i, value in enumerate(after):
        assert straight.add(value, value, i) == restored.add(value, value, i)
    assert msgspec.msgpack.encode(straight) == msgspec.msgpack.encode(restored)


def test_memory_is_bounded_on_random_and_on_curving_series() -> None:
    rng = random.Random(2)
    steady, curving = ChangeScan(50.0, 50.0), ChangeScan(1e9, 1e9)
    for i in range(3 * MEMORY):
        steady.add(rng.random(), 0.0, i)
        curving.add(min(1.0, (i % MEMORY) / MEMORY), 0.0, i)
        assert max(len(steady.upper), len(steady.lower), len(curving.upper), len(curving.lower)) <= MAX_VERTICES
    assert steady.count <= MEMORY + STRIDE
    assert len(steady.marks) <= MEMORY // STRIDE + 1


def test_a_constant_stream_never_alarms_and_its_first_change_is_noticed() -> None:
    scan = ChangeScan(13.0, 15.0)
    assert all(scan.add(1.0, 1.0, i) is None for i in range(2_000))
    found = [scan.add(0.0, 0.0, 2_000 + i) for i in range(4)]
    assert any(isinstance(shift, Shift) for shift in found)


def test_pausing_between_looks_delays_no_alarm() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        p, q = rng.uniform(0.05, 0.99), rng.uniform(0.05, 0.99)
        pausing, looking = ChangeScan(8.0, 9.0), ChangeScan(8.0, 9.0)
        for i in range(1_200):
            value = float(rng.random() < (p if i < 600 else q))
            looking.rest_down = looking.rest_up = 0
            found = pausing.add(value, value, i)
            assert found == looking.add(value, value, i)
            if found is not None:
                break


@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_likeness_of_neighbours_raises_no_alarm(weight: float) -> None:
    alarms = 0
    for seed in range(30):
        rng = random.Random(seed)
        scan, level = ChangeScan(11.0, 11.0), 0.5
        for i in range(1_500):
            level = weight * level + (1 - weight) * rng.random()
            alarms += scan.add(level, level, i) is not None
    assert alarms == 0
