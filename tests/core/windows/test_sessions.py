import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.windows import Fired, LateEvent, Lateness, Sessions, SessionsState, SessionWindows, WindowResult
from optimizer.core.windows import sessions as sessions_module

GAP = 10
Event = tuple[str, int]
events = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 150)), max_size=60)


def expected(stream: list[Event]) -> dict[tuple[str, int, int], int]:
    """The sessions by their definition, from the sorted stream."""
    found: dict[tuple[str, int, int], int] = {}
    for key in {key for key, _ in stream}:
        times = sorted(time for name, time in stream if name == key)
        start, last, count = times[0], times[0], 0
        for time in times:
            if time - last >= GAP:
                found[key, start, last + GAP] = count
                start, count = time, 0
            last, count = time, count + 1
        found[key, start, last + GAP] = count
    return found


def settled(fired: list[Fired]) -> dict[tuple[str, int, int], int]:
    """What a reader of the results knows in the end."""
    known: dict[tuple[str, int, int], int] = {}
    for result in fired:
        assert isinstance(result, WindowResult)
        for start, end in result.replaces:
            del known[result.key, start, end]
        known[result.key, result.start, result.end] = result.events
    return known


@settings(deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_sessions_merge_whatever_the_order_within_the_bound(stream: list[Event], rng: random.Random) -> None:
    delay = 25
    windows, fired, newest = SessionWindows(Sessions(GAP)), [], -(10**9)
    for key, time in sorted(stream, key=lambda event: event[1] + rng.random() * delay):
        fired += windows.add(key, time, {})
        newest = max(newest, time)
        fired += windows.advance(newest - delay)
    fired += windows.advance(10**9)
    assert windows.late == 0
    assert all(isinstance(r, WindowResult) and r.revision == 0 and r.replaces == () for r in fired)
    assert settled(fired) == expected(stream)
    assert windows.state().keys == {}


@settings(deadline=None)
@given(events)
def test_late_events_replace_what_fired(stream: list[Event]) -> None:
    windows = SessionWindows(Sessions(GAP), Lateness(allowed=10**6))
    fired: list[Fired] = []
    for i, (key, time) in enumerate(stream):
        fired += windows.add(key, time, {})
        fired += windows.advance(max(t for _, t in stream[: i + 1]))
    fired += windows.flush()
    assert settled(fired) == expected(stream)


@settings(deadline=None)
@given(events, st.integers(1, 2))
def test_evicted_keys_lose_no_count(stream: list[Event], max_keys: int) -> None:
    windows = SessionWindows(Sessions(GAP), max_keys=max_keys)
    fired: list[Fired] = []
    for key, time in stream:
        fired += windows.add(key, time, {})
        assert len(windows.state().keys) <= max_keys
    fired += windows.flush()
    assert sum(r.events for r in fired if isinstance(r, WindowResult)) == len(stream)


def test_one_event_joins_two_fired_sessions_into_one() -> None:
    windows = SessionWindows(Sessions(GAP))
    windows.add("a", 0, {"x": 1.0})
    windows.add("a", 15, {"x": 2.0})
    assert len(windows.advance(40)) == 2
    (result,) = windows.add("a", 8, {"x": 3.0})
    assert isinstance(result, WindowResult)
    assert (result.start, result.end, result.events, result.reason) == (0, 25, 3, "late")
    assert result.replaces == ((0, 10), (15, 25))
    assert result.metrics["x"].total == 6.0


@pytest.mark.parametrize("policy", ["side", "drop"])
def test_an_event_too_late_is_handed_back_or_counted(policy: str) -> None:
    windows = SessionWindows(Sessions(GAP), msgspec.convert({"policy": policy}, type=Lateness))
    windows.add("a", 0, {})
    windows.advance(20)
    late = windows.add("a", 3, {})
    assert late == ([LateEvent(key="a", time=3, values={})] if policy == "side" else [])
    assert (windows.late, windows.dropped) == (1, int(policy == "drop"))


def test_sessions_of_one_key_are_bounded() -> None:
    windows = SessionWindows(Sessions(1))
    fired: list[Fired] = []
    for i in range(500):
        fired += windows.add("a", 5 * i, {})
        assert len(windows.state().keys["a"].sessions) <= sessions_module.MAX_SESSIONS
    fired += windows.flush()
    assert sum(r.events for r in fired if isinstance(r, WindowResult)) == 500


@settings(deadline=None)
@given(events, st.integers(0, 60))
def test_restore_continues_byte_for_byte(stream: list[Event], cut: int) -> None:
    def feed(windows: SessionWindows, part: list[Event]) -> list[Fired]:
        out: list[Fired] = []
        for key, time in part:
            out += windows.add(key, time, {"x": time / 7})
            out += windows.advance(time - 15)
        return out

    straight, first, second = (SessionWindows(Sessions(GAP), max_keys=2) for _ in range(3))
    expected_results = feed(straight, stream)
    got = feed(first, stream[:cut])
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=SessionsState))
    got += feed(second, stream[cut:])
    assert got == expected_results
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())


def test_refuses_a_gap_of_nothing() -> None:
    with pytest.raises(ValueError, match="gap"):
        Sessions(0)
