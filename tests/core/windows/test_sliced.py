import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.windows import (
    Fired,
    LateEvent,
    Lateness,
    SlicedState,
    SlicedWindows,
    Sliding,
    WindowResult,
    tumbling,
)

Event = tuple[str, int]
specs = st.sampled_from([tumbling(10), Sliding(30, 10), Sliding(25, 10), Sliding(7, 3)])
events = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 200)), max_size=80)


def assigned(spec: Sliding, stream: list[Event]) -> Counter[tuple[str, int, int]]:
    """How many events each key's window holds, by the definition."""
    count: Counter[tuple[str, int, int]] = Counter()
    for key, time in stream:
        for start in range((time - spec.size) // spec.slide * spec.slide, time + 1, spec.slide):
            if start <= time < start + spec.size:
                count[key, start, start + spec.size] += 1
    return count


def settled(fired: list[Fired]) -> Counter[tuple[str, int, int]]:
    """What a reader of the results knows in the end: last revisions, parts added up."""
    last: dict[tuple[str, int, int, int], tuple[int, int]] = {}
    for result in fired:
        assert isinstance(result, WindowResult)
        place = (result.key, result.start, result.end, result.part)
        assert place not in last or last[place][0] < result.revision, "revisions rise"
        last[place] = (result.revision, result.events)
    count: Counter[tuple[str, int, int]] = Counter()
    for (key, start, end, _), (_, n) in last.items():
        count[key, start, end] += n
    return count


@settings(deadline=None)
@given(specs, events, st.randoms(use_true_random=False))
def test_every_event_is_counted_once_in_each_of_its_windows_in_any_order_within_the_bound(
    spec: Sliding, stream: list[Event], rng: random.Random
) -> None:
    delay = 20
    order = sorted(stream, key=lambda event: event[1] + rng.random() * delay)
    windows, fired, newest = SlicedWindows(spec), [], -(10**9)
    for key, time in order:
        fired += windows.add(key, time, {"x": 1.0})
        newest = max(newest, time)
        fired += windows.advance(newest - delay)
    fired += windows.advance(10**9)
    assert windows.late == 0
    assert all(isinstance(r, WindowResult) and r.revision == 0 and r.metrics["x"].count == r.events for r in fired)
    assert settled(fired) == assigned(spec, stream)
    assert windows.state().keys == {}


@settings(deadline=None)
@given(specs, events, st.integers(1, 5))
def test_late_events_and_evicted_keys_lose_no_count(spec: Sliding, stream: list[Event], max_keys: int) -> None:
    windows = SlicedWindows(spec, Lateness(allowed=10**6), max_keys=max_keys)
    fired: list[Fired] = []
    for i, (key, time) in enumerate(stream):
        fired += windows.add(key, time, {})
        if i % 3 == 0:
            fired += windows.advance(max(t for _, t in stream[: i + 1]))
        assert len(windows.state().keys) <= max_keys
    fired += windows.flush()
    assert windows.dropped == 0
    assert settled(fired) == assigned(spec, stream)


def test_all_keys_fire_when_one_key_moves_the_watermark() -> None:
    windows = SlicedWindows(tumbling(10))
    for key in "abc":
        windows.add(key, 5, {})
    assert [(r.key, r.end) for r in windows.advance(10) if isinstance(r, WindowResult)] == [
        ("a", 10),
        ("b", 10),
        ("c", 10),
    ]


@pytest.mark.parametrize("policy", ["update", "side", "drop"])
def test_an_event_after_its_window_fired(policy: str) -> None:
    lateness = msgspec.convert({"allowed": 100, "policy": policy}, type=Lateness)
    windows = SlicedWindows(tumbling(10), lateness)
    windows.add("a", 1, {"x": 1.0})
    assert len(windows.advance(15)) == 1
    late = windows.add("a", 2, {"x": 3.0})
    assert windows.late == 1
    if policy == "update":
        (result,) = late
        assert isinstance(result, WindowResult)
        assert (result.reason, result.revision, result.events, result.metrics["x"].mean) == ("late", 1, 2, 2.0)
    elif policy == "side":
        assert late == [LateEvent(key="a", time=2, values={"x": 3.0})]
    else:
        assert late == []
    assert windows.dropped == (policy == "drop")
    assert windows.advance(200) == []
    assert windows.state().keys == {}


def test_beyond_the_allowed_lateness_an_event_is_counted_as_dropped() -> None:
    windows = SlicedWindows(tumbling(10), Lateness(allowed=60))
    windows.advance(70)
    assert windows.add("a", 5, {}) == []
    assert (windows.late, windows.dropped) == (1, 1)
    assert len(windows.add("a", 11, {})) == 1


@settings(deadline=None)
@given(specs, events, st.integers(0, 80))
def test_restore_continues_byte_for_byte(spec: Sliding, stream: list[Event], cut: int) -> None:
    def feed(windows: SlicedWindows, part: list[Event]) -> list[Fired]:
        out: list[Fired] = []
        for key, time in part:
            out += windows.add(key, time, {"x": time / 7})
            out += windows.advance(time - 15)
        return out

    straight, first, second = (SlicedWindows(spec, max_keys=3) for _ in range(3))
    expected = feed(straight, stream)
    got = feed(first, stream[:cut])
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=SlicedState))
    got += feed(second, stream[cut:])
    assert got == expected
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())


def test_the_rate_is_per_second_of_the_window() -> None:
    windows = SlicedWindows(tumbling(10_000_000))
    for i in range(50):
        windows.add("a", i, {})
    (result,) = windows.flush()
    assert isinstance(result, WindowResult)
    assert result.rate == 5.0


@pytest.mark.parametrize(("size", "slide"), [(0, 0), (10, 0), (10, 20), (-5, -5)])
def test_refuses_windows_that_leave_gaps(size: int, slide: int) -> None:
    with pytest.raises(ValueError, match="slide"):
        Sliding(size, slide)
