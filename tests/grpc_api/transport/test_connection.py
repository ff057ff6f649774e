"""Connections in virtual time on memory streams: calls, time limits, drain."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from optimizer.grpc_api.transport.connection import Ending
from optimizer.grpc_api.transport.limits import Limits
from tests.grpc_api.conftest import Connect
from tests.grpc_api.echo import CHAT, COUNT, ECHO, HANG, SUM, Echo
from tests.grpc_api.peer import frame_message, text


async def test_unary_call_is_answered_with_its_message_and_status(connect: Connect) -> None:
    peer = await connect()
    trailers = await peer.call(ECHO, text("hello"))
    assert peer.data[1] == text("hello")
    assert trailers["grpc-status"] == "0"
    assert dict(peer.headers[1])[":status"] == "200"


async def test_streaming_calls_of_all_kinds(connect: Connect) -> None:
    peer = await connect()
    assert (await peer.call(COUNT, frame_message(b"\x08\x03")))["grpc-status"] == "0"
    assert peer.data[1] == frame_message(b"") + frame_message(b"\x08\x01") + frame_message(b"\x08\x02")
    assert (await peer.call(SUM, frame_message(b"\x08\x03") + frame_message(b"\x08\x04")))["grpc-status"] == "0"
    assert peer.data[3] == frame_message(b"\x08\x07")
    assert (await peer.call(CHAT, text("a") + text("b")))["grpc-status"] == "0"
    assert peer.data[5] == text("a") + text("b")


async def test_a_reset_cancels_the_handler(connect: Connect) -> None:
    echo = Echo()
    peer = await connect([echo])
    stream_id, raw = peer.request(HANG, text("x"))
    await peer.send(raw)
    await wait_all_tasks_blocked()
    assert echo.hanging == 1
    await peer.send((4).to_bytes(3, "big") + b"\x03\x00" + stream_id.to_bytes(4, "big") + (8).to_bytes(4, "big"))
    await wait_all_tasks_blocked()
    assert (echo.hanging, echo.cancelled) == (0, 1)


async def test_a_lost_connection_cancels_its_handlers(connect: Connect) -> None:
    echo = Echo()
    peer = await connect([echo])
    await peer.send(peer.request(HANG, text("x"))[1], peer.request(HANG, text("x"))[1])
    await wait_all_tasks_blocked()
    assert echo.hanging == 2
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert echo.cancelled == 2
    assert peer.journal.endings() == [("peer", "")]


@pytest.mark.parametrize(
    ("first", "ending", "after"),
    [
        (b"", Ending.PREFACE, 5.0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Ending.PREFACE, 5.0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\0\x10\1\4\0\0\0\1abc", Ending.HEADERS, 10.0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\0\x01\1\0\0\0\0\1\x82", Ending.HEADERS, 10.0),
    ],
)
async def test_silent_and_slow_connections_are_closed_in_their_limit(
    connect: Connect, autojump_clock: MockClock, first: bytes, ending: Ending, after: float
) -> None:
    peer = await connect(greet=False)
    began = trio.current_time()
    if first:
        await peer.send(first)
    await peer.wait(lambda: False)
    assert trio.current_time() - began == pytest.approx(after)
    assert peer.journal.closed_connections[0].ending is ending


async def test_a_slowloris_that_sends_a_byte_now_and_then_is_closed_in_the_same_time(
    connect: Connect, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    peer = await connect()

    async def drip() -> None:
        await peer.send(b"\0\x10\0\1\4\0\0\0\1")
        while not peer.closed:
            await trio.sleep(3)
            try:
                await peer.send(b"\x40")
            except trio.BrokenResourceError:
                return

    nursery.start_soon(drip)
    await peer.wait(lambda: False)
    assert trio.current_time() == pytest.approx(10.0)
    assert peer.journal.endings() == [("headers", "")]


async def test_an_idle_connection_gets_two_goaways_and_is_closed(connect: Connect, autojump_clock: MockClock) -> None:
    peer = await connect()
    await peer.call(ECHO, text("x"))
    await peer.wait(lambda: False)
    assert trio.current_time() == pytest.approx(300.0)
    assert [(g.last_stream_id, g.error_code) for g in peer.goaways()] == [(2**31 - 1, 0), (1, 0)]
    assert peer.journal.endings() == [("idle", "")]


async def test_an_old_connection_lets_its_calls_finish(connect: Connect, autojump_clock: MockClock) -> None:
    echo = Echo()
    peer = await connect([echo], limits=Limits(idle_s=1e6))
    stream_id, raw = peer.request(HANG, text("x"))
    await peer.send(raw)
    await peer.wait(lambda: len(peer.goaways()) == 2)
    assert trio.current_time() == pytest.approx(3600.0)
    await trio.sleep(29)
    echo.release.set()
    assert (await peer.answer(stream_id))["grpc-status"] == "0"
    await peer.wait(lambda: False)
    assert peer.journal.endings() == [("age", "")]


async def test_a_drain_ends_calls_that_outlive_its_grace_with_unavailable(
    connect: Connect, autojump_clock: MockClock
) -> None:
    echo = Echo()
    peer = await connect([echo])
    stream_id, raw = peer.request(HANG, text("x"))
    await peer.send(raw)
    await wait_all_tasks_blocked()
    await peer.port.drain(10.0)
    trailers = await peer.answer(stream_id)
    assert trio.current_time() == pytest.approx(10.0)
    assert trailers["grpc-status"] == "14"
    assert trailers["grpc-retry-pushback-ms"] == "1000"
    await peer.wait(lambda: False)
    assert peer.journal.endings() == [("drain", "")]
    assert echo.cancelled == 1


async def test_streams_after_a_drain_whose_ping_was_never_answered_are_refused(
    connect: Connect, autojump_clock: MockClock
) -> None:
    echo = Echo()
    peer = await connect([echo])
    peer.answers_pings = False
    first, raw = peer.request(HANG, text("x"))
    await peer.send(raw)
    await wait_all_tasks_blocked()
    await peer.port.drain(20.0)
    served, raw = peer.request(ECHO, text("between the two"))
    await peer.send(raw)
    assert (await peer.answer(served))["grpc-status"] == "0"
    await trio.sleep(6)
    refused, raw = peer.request(ECHO, text("late"))
    await peer.send(raw)
    await peer.answer(refused)
    assert peer.reset(refused) == 0x7
    echo.release.set()
    assert (await peer.answer(first))["grpc-status"] == "0"
    await peer.wait(lambda: False)
    assert peer.journal.endings() == [("drain", "")]
