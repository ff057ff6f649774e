"""The frame counter alone: every budget, at its limit and one beyond, however the bytes are cut."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.grpc_api.transport.frames import PREFACE, Breach, FrameCounter
from optimizer.grpc_api.transport.limits import Limits

LIMITS = Limits()


def frame(kind: int, *, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def counter(limits: Limits = LIMITS) -> FrameCounter:
    made = FrameCounter(limits)
    assert made.feed(PREFACE + frame(SETTINGS), 0.0) is None
    return made


def feed(made: FrameCounter, frames: Iterable[bytes], now: float = 1.0) -> Breach | None:
    for each in frames:
        breach = made.feed(each, now)
        if breach is not None:
            return breach
    return None


PING_FRAME = frame(PING, payload=b"12345678")
UPDATE = frame(WINDOW, payload=b"\0\0\0\1")
RESET = frame(RST, stream=1, payload=b"\0\0\0\x08")


@pytest.mark.parametrize(
    ("allowed", "one", "reason"),
    [
        (LIMITS.settings - 1, frame(SETTINGS), "settings"),
        (LIMITS.empty_data, frame(DATA, stream=1), "empty_data"),
        (LIMITS.resets_per_s, RESET, "resets"),
        (LIMITS.priorities_per_stream, frame(PRIORITY, stream=1, payload=bytes(5)), "priorities"),
        (LIMITS.window_updates_free, UPDATE, "window_updates"),
        (LIMITS.other_frames, frame(0xEE), "frames"),
        (LIMITS.other_frames, frame(PING, flags=ACK, payload=bytes(8)), "frames"),
        (LIMITS.other_frames, frame(SETTINGS, flags=ACK), "frames"),
        (LIMITS.continuations - 1, frame(CONTINUATION, stream=1, payload=b"x"), "continuations"),
    ],
)
def test_each_budget_is_exact(allowed: int, one: bytes, reason: str) -> None:
    made = counter()
    if reason == "continuations":
        assert made.feed(frame(HEADERS, stream=1, payload=b"x"), 1.0) is None
    assert feed(made, [one] * allowed) is None
    assert made.feed(one, 1.0) == Breach(reason)


def test_budgets_with_a_window_start_anew_after_it() -> None:
    made = counter()
    for second in range(5):
        assert feed(made, [frame(SETTINGS)] * (LIMITS.settings - 1), now=second * 11.0 + 1) is None
    for second in range(5):
        assert feed(made, [RESET] * LIMITS.resets_per_s, now=second * 2.0 + 100) is None


def test_more_streams_allow_more_priorities() -> None:
    made = counter()
    opened = frame(HEADERS, flags=END_HEADERS | END_STREAM, stream=1, payload=b"x")
    assert feed(made, [opened, *[frame(PRIORITY, stream=1, payload=bytes(5))] * 200]) is None
    assert made.feed(frame(PRIORITY, stream=1, payload=bytes(5)), 1.0) == Breach("priorities")


def test_more_answers_allow_more_window_updates() -> None:
    made = counter()
    made.answered(10)
    assert feed(made, [UPDATE] * (LIMITS.window_updates_free + 100)) is None
    assert made.feed(UPDATE, 1.0) == Breach("window_updates")


def test_empty_data_is_counted_in_a_row() -> None:
    made = counter()
    for _ in range(50):
        assert feed(made, [frame(DATA, stream=1)] * LIMITS.empty_data) is None
        assert made.feed(frame(DATA, stream=1, payload=b"x"), 1.0) is None
    assert feed(made, [frame(DATA, flags=END_STREAM, stream=1)] * 100) is None


@pytest.mark.parametrize("active", [True, False])
def test_keepalive_pings_within_the_permitted_interval_are_never_strikes(active: bool) -> None:
    made = counter()
    made.active = active
    interval = LIMITS.ping_interval_s if active else LIMITS.ping_interval_without_calls_s
    for number in range(20):
        assert made.feed(PING_FRAME, 10 + number * interval) is None


def test_the_third_early_ping_ends_the_connection() -> None:
    made = counter()
    assert feed(made, [PING_FRAME] * 3) is None  # the first, and two strikes
    assert made.feed(PING_FRAME, 2.0) == Breach("too_many_pings")


def test_answers_forgive_strikes_but_not_a_flood_of_pings() -> None:
    made = counter()
    for number in range(LIMITS.pings):
        made.answered(1)
        assert made.feed(PING_FRAME, 1 + number / 100) is None
    made.answered(1)
    assert made.feed(PING_FRAME, 2.5) == Breach("too_many_pings")


def test_what_is_unfinished_is_known_with_the_time_it_began() -> None:
    made = counter()
    assert made.unfinished_since() is None
    made.feed(b"\0\0", 3.0)
    assert made.unfinished_since() == 3.0
    made.feed(b"\4\0\0\0\0\0\1ab", 5.0)
    assert made.unfinished_since() == 5.0
    made.feed(b"c", 7.0)
    assert made.unfinished_since() == 5.0
    made.feed(b"d", 8.0)
    assert made.unfinished_since() is None
    made.feed(frame(HEADERS, stream=1, payload=b"x"), 9.0)
    made.feed(frame(CONTINUATION, stream=1, payload=b"x"), 12.0)
    assert made.unfinished_since() == 9.0
    made.feed(frame(CONTINUATION, flags=END_HEADERS, stream=1, payload=b"x"), 13.0)
    assert made.unfinished_since() is None


ANY_FRAME = st.builds(
    frame,
    st.integers(0, 12),
    flags=st.integers(0, 255),
    stream=st.integers(0, 9),
    payload=st.binary(max_size=12),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_FRAME, max_size=12), st.data())
def test_how_the_bytes_are_cut_makes_no_difference(frames: list[bytes], draw: st.DataObject) -> None:
    whole, cut = counter(), counter()
    raw = b"".join(frames)
    expected = whole.feed(raw, 1.0)
    found = None
    while raw and found is None:
        size = draw.draw(st.integers(1, len(raw)))
        found, raw = cut.feed(raw[:size], 1.0), raw[size:]
    assert found == expected
    if expected is None:
        assert (cut.frames, cut.opened, cut.control) == (whole.frames, whole.opened, whole.control)
        assert cut.unfinished_since() == whole.unfinished_since()
