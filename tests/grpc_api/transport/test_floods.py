"""Hostile peers: every attack ends in GOAWAY(ENHANCE_YOUR_CALM) with its reason, or is bounded; no one else notices."""

from collections.abc import Callable

import pytest
import trio
from hyperframe.frame import Frame, HeadersFrame, PriorityFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from optimizer.grpc_api.transport.limits import Limits
from tests.grpc_api.conftest import Connect
from tests.grpc_api.echo import CHAT, COUNT, ECHO, HANG, Echo
from tests.grpc_api.peer import RawPeer, data, frame_message, ping, text, window

CALM = 0xB


def rapid_reset(peer: RawPeer) -> bytes:
    stream_id, raw = peer.request(HANG, text("x"))
    return raw + RstStreamFrame(stream_id, error_code=8).serialize()


def made_you_reset(peer: RawPeer) -> bytes:
    """A WINDOW_UPDATE that overflows a stream makes the server reset it (CVE-2025-8671)."""
    stream_id, raw = peer.request(HANG, text("x"))
    return raw + window(stream_id, 2**31 - 1)


def continuation(peer: RawPeer) -> bytes:
    if not peer.headers.get(-1):
        peer.headers[-1] = [("", "")]
        return b"\0\0\5\1\0\0\0\0\1" + b"\x00\x01a\x01b"
    return b"\0\0\5\x09\0\0\0\0\1" + b"\x00\x01a\x01b"


def empty_data(peer: RawPeer) -> bytes:
    if not peer.headers.get(-1):
        peer.headers[-1] = [("", "")]
        return peer.request(CHAT, end=False)[1]
    return data(1, b"")


def late_head(peer: RawPeer) -> bytes:
    """Header blocks without the fields that a request needs, each answered with a reset."""
    stream_id, _ = peer.request(ECHO)
    return peer.head(stream_id, [(":method", "POST"), (":scheme", "http")])


ATTACKS: dict[str, tuple[Callable[[RawPeer], bytes], str | None]] = {
    "rapid reset": (rapid_reset, "resets"),
    "made you reset": (made_you_reset, None),
    "malformed requests": (late_head, None),
    "continuation": (continuation, "continuations"),
    "ping": (lambda _: ping(), "too_many_pings"),
    "settings": (lambda _: SettingsFrame(0).serialize(), "settings"),
    "empty data": (empty_data, "empty_data"),
    "priority": (lambda _: PriorityFrame(1, stream_weight=1).serialize(), "priorities"),
    "window update": (lambda _: window(0, 1), "window_updates"),
    "unknown frames": (lambda _: b"\0\0\0\xee\0\0\0\0\0", "frames"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_each_flood_ends_with_enhance_your_calm(connect: Connect, name: str) -> None:
    attack, reason = ATTACKS[name]
    echo = Echo()
    peer = await connect([echo])
    await peer.wait(lambda: bool(peer.frames))
    for _ in range(3_000):
        try:
            await peer.send(attack(peer))
        except trio.BrokenResourceError:
            break
        await trio.lowlevel.checkpoint()
    else:
        pytest.fail("the flood was never stopped")
    await peer.wait(lambda: False)
    assert [goaway.error_code for goaway in peer.goaways()] == [CALM]
    if reason is not None:
        assert peer.goaways()[0].additional_data == reason.encode()
        assert peer.journal.endings() == [("flood", reason)]
    assert peer.journal.failures == []
    await wait_all_tasks_blocked()
    assert echo.hanging == 0
    assert not peer.port.connections


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_flood_in_one_piece_costs_no_more(connect: Connect, name: str) -> None:
    attack, _ = ATTACKS[name]
    peer = await connect()
    await peer.wait(lambda: bool(peer.frames))
    await peer.send(b"".join(attack(peer) for _ in range(3_000)))
    await peer.wait(lambda: False)
    assert [goaway.error_code for goaway in peer.goaways()] == [CALM]
    assert peer.journal.failures == []


async def test_clients_that_reset_half_of_their_calls_at_once_are_cut_off(connect: Connect) -> None:
    limits = Limits(resets_per_s=10_000)
    peer = await connect(limits=limits)
    await peer.wait(lambda: bool(peer.frames))
    for _ in range(int(limits.reset_sample * limits.reset_share) + 1):
        await peer.send(rapid_reset(peer))
        await wait_all_tasks_blocked()
    await peer.wait(lambda: False)
    assert peer.journal.endings() == [("flood", "reset_share")]
    assert peer.goaways()[-1].error_code == CALM


async def test_cancelling_answered_calls_is_not_held_against_a_client(connect: Connect) -> None:
    peer = await connect(limits=Limits(resets_per_s=10_000))
    for _ in range(300):
        stream_id, raw = peer.request(CHAT, text("x"), end=False)
        await peer.send(raw)
        await peer.wait(lambda stream_id=stream_id: stream_id in peer.data)  # type: ignore[misc]
        await peer.send(RstStreamFrame(stream_id, error_code=8))
    assert (await peer.call(ECHO, text("still here")))["grpc-status"] == "0"


async def test_streams_beyond_the_limit_are_refused(connect: Connect) -> None:
    echo = Echo()
    peer = await connect([echo], limits=Limits(streams=5))
    for _ in range(6):
        last, raw = peer.request(HANG, text("x"))
        await peer.send(raw)
    await peer.wait(lambda: peer.reset(last) is not None)
    assert peer.reset(last) == 0x7
    assert echo.hanging == 5


async def test_header_lists_beyond_the_limit_are_refused_and_the_connection_goes_on(connect: Connect) -> None:
    peer = await connect()
    await send_in_frames(peer, 1, [("x-a", "a" * 9_000), ("x-b", "b" * 9_000)])  # large on the wire, too
    await peer.answer(1)
    assert peer.reset(1) == CALM
    peer._next = 3
    big = [(f"x-{number}", "a" * 400) for number in range(40)]
    assert (await peer.call(ECHO, text("x"), fields=big))["grpc-status"] == "8"
    assert (await peer.call(ECHO, text("x"), fields=big[:30]))["grpc-status"] == "0"


async def send_in_frames(peer: RawPeer, stream_id: int, fields: list[tuple[str, str]]) -> None:
    """A header block that is larger than one frame."""
    head = [(":method", "POST"), (":scheme", "http"), (":path", ECHO), ("content-type", "application/grpc"), *fields]
    block = Frame.serialize(HeadersFrame(stream_id, peer._encoder.encode(head, huffman=False)))[9:]
    pieces = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    for number, piece in enumerate(pieces):
        flags = (0x1 if number == 0 else 0) | (0x4 if number == len(pieces) - 1 else 0)
        kind = 1 if number == 0 else 9
        await peer.send(len(piece).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + piece)


async def test_too_many_header_fields_are_refused(connect: Connect) -> None:
    peer = await connect()
    allowed = [(f"x-{number}", "v") for number in range(98)]  # and two that every request has
    assert (await peer.call(ECHO, text("x"), fields=allowed))["grpc-status"] == "0"
    assert (await peer.call(ECHO, text("x"), fields=[*allowed, ("x-one-more", "v")]))["grpc-status"] == "8"


async def test_a_hpack_bomb_is_bounded_by_the_header_list(connect: Connect) -> None:
    """One long field in the table, then thousands of one-byte references to it (CVE-2016-6581, CVE-2026-49975)."""
    echo = Echo()
    peer = await connect([echo])
    assert (await peer.call(ECHO, text("x"), fields=[("x-bomb", "v" * 3_000)]))["grpc-status"] == "0"
    for times, status in ((4, "0"), (8, "8"), (12_000, "8")):
        stream_id, raw = peer.request(ECHO, text("x"))
        head, body = raw[9 : 9 + int.from_bytes(raw[:3], "big")], raw[9 + int.from_bytes(raw[:3], "big") :]
        block = head + b"\xbe" * times
        await peer.send(len(block).to_bytes(3, "big") + b"\1\4" + stream_id.to_bytes(4, "big") + block + body)
        assert (await peer.answer(stream_id))["grpc-status"] == status
    assert echo.seen == ["x", "x"]


async def test_frames_beyond_the_announced_size_end_the_connection(connect: Connect) -> None:
    peer = await connect()
    await peer.send((16 * 1024 + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1" + bytes(16 * 1024 + 1))
    await peer.wait(lambda: False)
    assert peer.goaways()[0].error_code == 0x6


async def test_a_message_of_300_mib_is_refused_at_its_first_bytes(connect: Connect) -> None:
    peer = await connect()
    stream_id, raw = peer.request(ECHO, b"\0" + (300 << 20).to_bytes(4, "big") + bytes(1_000), end=False)
    await peer.send(raw)
    assert (await peer.answer(stream_id))["grpc-status"] == "8"
    assert (await peer.call(ECHO, text("x")))["grpc-status"] == "0"


async def test_messages_are_bounded_by_their_own_limit_exactly(connect: Connect) -> None:
    peer = await connect(limits=Limits(message=100))
    assert (await peer.call(ECHO, frame_message(b"\x0a\x62" + b"v" * 98)))["grpc-status"] == "0"
    assert (await peer.call(ECHO, frame_message(b"\x0a\x63" + b"v" * 99)))["grpc-status"] == "8"


async def test_unfinished_messages_are_bounded_over_all_calls(connect: Connect) -> None:
    limits = Limits(partial_messages=50_000)
    peer = await connect(limits=limits)
    answers = []
    for _ in range(4):
        stream_id, raw = peer.request(ECHO, b"\0" + (1 << 20).to_bytes(4, "big") + bytes(16_000), end=False)
        await peer.send(raw)
        await wait_all_tasks_blocked()
        answers.append(stream_id)
    last = await peer.answer(answers[-1])
    assert last["grpc-status"] == "8"
    (connection,) = peer.port.connections.values()
    assert connection.partial == 3 * 16_005


async def test_a_message_that_makes_no_progress_is_given_up(connect: Connect, autojump_clock: MockClock) -> None:
    peer = await connect()
    stream_id, raw = peer.request(CHAT, b"\0" + (1000).to_bytes(4, "big") + b"abc", end=False)
    await peer.send(raw)
    answer = await peer.answer(stream_id)
    assert trio.current_time() == pytest.approx(30.0)
    assert answer["grpc-status"] == "4"


async def test_a_reader_that_stops_costs_its_window_and_is_dropped(connect: Connect, autojump_clock: MockClock) -> None:
    """With open windows and a socket that takes nothing, a server stream stops at the write buffer's bound."""
    peer = await connect()
    await peer.send(window(0, 2**30), SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30}).serialize())
    await peer.wait(lambda: len(peer.of(SettingsFrame)) >= 2)
    blocked = trio.Event()

    async def block() -> None:
        await blocked.wait()

    (connection,) = peer.port.connections.values()
    theirs = connection._guard._stream
    assert isinstance(theirs, trio.StapledStream)
    theirs.send_stream.send_all_hook = block
    _, raw = peer.request(COUNT, frame_message(b"\x08\xff\xff\xff\x07"))
    await peer.send(raw)
    with trio.move_on_after(10):
        await wait_all_tasks_blocked()
    limits = connection.limits
    assert connection._guard.unsent < 2 * limits.connection_unsent + limits.stream_unsent
    await trio.sleep(25)
    assert peer.journal.endings() == [("stall", "")]


async def test_reading_stops_while_answers_to_control_frames_cannot_be_written(connect: Connect) -> None:
    limits = Limits(pings=10**9, ping_strikes=10**9, control_unsent=17 * 100)
    peer = await connect(limits=limits)
    await peer.wait(lambda: bool(peer.frames))
    blocked = trio.Event()

    async def block() -> None:
        await blocked.wait()

    (connection,) = peer.port.connections.values()
    stream = connection._guard._stream
    assert isinstance(stream, trio.StapledStream)
    stream.send_stream.send_all_hook = block
    for _ in range(50):
        await peer.send(ping() * 100)
        await wait_all_tasks_blocked()
    assert connection._guard.counter.control <= 17 * 300
    blocked.set()
    await wait_all_tasks_blocked()
    assert connection._guard.counter.control == 0


async def test_window_of_streams_is_what_a_call_can_park(connect: Connect) -> None:
    """A handler that does not read stops its client after the stream's window, not later."""
    limits = Limits()
    peer = await connect()
    stream_id, raw = peer.request(HANG, end=False)
    await peer.send(raw)
    for _ in range(limits.stream_window // 16_384):
        await peer.send(data(stream_id, bytes(16_384)))
    await wait_all_tasks_blocked()
    await peer.send(data(stream_id, b"x"))
    await peer.wait(lambda: peer.reset(stream_id) is not None)
    assert peer.reset(stream_id) == 0x3
    assert not [f for f in peer.of(WindowUpdateFrame) if f.stream_id == stream_id]
