"""One bad connection ends itself and nothing else: after every probe the server answers a normal request."""

import pytest
import trio
import trio.testing

from optimizer.rest_api import ConnectionLimits
from tests.rest_api.conftest import SERVICE, Door, open_door, raw

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """One HPACK literal header without indexing."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


GET = b"".join(literal(n, v) for n, v in [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/health/live")])

PROBES = {
    "nothing": b"",
    "not http": b"\x16\x03\x01\x02\x00" * 20,
    "half a request line": b"GET /health/live HT",
    "bad method": b"G\xc3\xa9T / HTTP/1.1\r\nhost: x\r\n\r\n",
    "header without end": b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    "negative length": b"POST /api/v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "length and chunks": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /api/v1/feedback HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "websocket with trailing byte": (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n!"
    ),
    "bad h2c settings": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n"
    b"upgrade: h2c\r\nhttp2-settings: *!\r\n\r\n",
    "h2 unknown frame": PREFACE + SETTINGS + frame(0x77, 0, 0, b"hello"),
    "h2 priority flood": PREFACE + SETTINGS + b"".join(frame(2, 0, 2 * i + 1, b"\0\0\0\0\x01") for i in range(1500)),
    "h2 path not ascii": PREFACE + SETTINGS + frame(1, 5, 1, GET.replace(b"/health/live", b"/health/l\xffve")),
    "h2 method not ascii": PREFACE + SETTINGS + frame(1, 5, 1, GET.replace(b"GET", b"G\xffT")),
    "h2 connect without path": PREFACE
    + SETTINGS
    + frame(1, 5, 1, literal(b":method", b"CONNECT") + literal(b":authority", b"x")),
    "h2 data after an early answer": PREFACE
    + SETTINGS
    + frame(1, 4, 1, GET.replace(b"GET", b"PUT"))
    + frame(0, 0, 1, b"x" * 1000) * 20
    + frame(0, 1, 1, b"y"),
    "h2 empty data flood": PREFACE + SETTINGS + frame(1, 4, 1, GET) + frame(0, 0, 1, b"") * 5000,
    "h2 reset flood": PREFACE
    + SETTINGS
    + b"".join(frame(1, 4, 2 * i + 1, GET) + frame(3, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(1500)),
    "h2 bad header block": PREFACE + SETTINGS + frame(1, 5, 1, b"\xff" * 50),
}

QUICK = ConnectionLimits(idle=1, read=1, handshake=1)


async def still_answers(door: Door) -> bool:
    """Whether a normal client is served."""
    async with door.client() as api:
        return (await api.get("/health/live")).json()["alive"] is True


@pytest.mark.parametrize("probe", PROBES, ids=str)
async def test_one_bad_peer_ends_its_own_connection(probe: str) -> None:
    async with open_door(limits=QUICK) as door:
        await raw(door.port, PROBES[probe], patience_s=8)
        assert await still_answers(door)


async def test_the_worst_of_all_at_once() -> None:
    async with open_door(limits=QUICK) as door:
        async with trio.open_nursery() as nursery:
            for payload in PROBES.values():
                nursery.start_soon(raw, door.port, payload)
        assert await still_answers(door)
        with trio.fail_after(10):
            while door.doorman.open:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_truncated_body_is_given_up_in_time_and_takes_no_effect() -> None:
    async with open_door(limits=QUICK, timeout_s=1) as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        end = await door.store.end()
        head = (
            b"POST /api/v1/feedback HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin\r\ncontent-length: 100\r\n\r\n"
        )
        reply = await raw(door.port, head + b'{"events": [')
        assert reply == b"" or b" 408 " in reply or b" 400 " in reply
        assert await door.store.end() == end
        assert await still_answers(door)


async def test_more_connections_than_allowed_are_turned_away_and_others_served_again() -> None:
    async with open_door(limits=ConnectionLimits(connections=3, idle=5)) as door:
        held = [await trio.open_tcp_stream("127.0.0.1", door.port) for _ in range(3)]
        while door.doorman.open < 3:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await raw(door.port, b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        assert door.doorman.refused == 1
        for stream in held:
            await stream.aclose()
        while door.doorman.open:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await still_answers(door)


async def test_a_peer_that_never_reads_does_not_hold_the_stop() -> None:
    with trio.fail_after(8):  # 2 s of sending, 1 s of grace, and room for a slow machine
        async with open_door(limits=QUICK, grace_s=1) as door:
            stream = await trio.open_tcp_stream("127.0.0.1", door.port)
            request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
            with trio.move_on_after(2):
                while True:
                    await stream.send_all(request * 1000)
            door.leave.set()
        await trio.aclose_forcefully(stream)
    assert door.leave.is_set()
