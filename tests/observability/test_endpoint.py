"""The operator's endpoint: right answers, bounds, and no connection that can end it."""

import pytest
import trio

from optimizer.observability import Answer, EndpointLimits, Route, serve_endpoint
from optimizer.observability.endpoint import serve_connection

ROUTES: dict[str, Route] = {"/health": lambda: Answer(status=200, content_type="application/json", body=b"{}")}


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Connections handed over by the test."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](100)

    async def connect(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await self._send.send(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._receive.close()


async def ask(stream: trio.abc.Stream, request: bytes) -> bytes:
    await stream.send_all(request)
    return bytes(await stream.receive_some(65536))


async def read_all(stream: trio.abc.Stream) -> bytes:
    parts = b""
    while part := await stream.receive_some(65536):
        parts += part
    return parts


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture
async def listener(nursery: trio.Nursery) -> MemoryListener:
    made = MemoryListener()
    routes = {**ROUTES, "/broken": lambda: 1 / 0}
    await nursery.start(lambda task_status: serve_endpoint([made], routes, task_status=task_status))  # type: ignore[arg-type]
    return made


async def test_several_requests_on_one_connection(listener: MemoryListener) -> None:
    stream = await listener.connect()
    for _ in range(3):
        answer = await ask(stream, get("/health?verbose=1"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"{}")
        assert b"nosniff" in answer


async def test_head_has_no_body(listener: MemoryListener) -> None:
    answer = await ask(await listener.connect(), b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"Content-Length: 2" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/nowhere"), b"404"),
        (get("/broken"), b"500"),
        (b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"40"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n", b"400"),
    ],
)
async def test_bad_requests_get_an_answer_and_hurt_nobody(
    listener: MemoryListener, request_bytes: bytes, status: bytes
) -> None:
    with trio.fail_after(5):
        assert (await ask(await listener.connect(), request_bytes)).startswith(b"HTTP/1.1 " + status)
        assert b"200" in await ask(await listener.connect(), get("/health"))


async def test_a_connection_lost_at_any_byte_hurts_nobody(listener: MemoryListener) -> None:
    request = get("/health")
    for cut in range(len(request)):
        stream = await listener.connect()
        await stream.send_all(request[:cut])
        await stream.aclose()
    assert b"200" in await ask(await listener.connect(), request)


async def test_random_bytes_hurt_nobody(listener: MemoryListener) -> None:
    import random

    rng = random.Random(5)
    for _ in range(200):
        stream = await listener.connect()
        await stream.send_all(rng.randbytes(rng.randrange(1, 200)))
        await trio.aclose_forcefully(stream)
    with trio.fail_after(5):
        assert b"200" in await ask(await listener.connect(), get("/health"))


async def test_silent_and_idle_connections_are_closed(autojump_clock: trio.testing.MockClock) -> None:
    for request, seconds in ((b"", 5), (b"GET /hea", 5), (get("/health"), 60)):
        ours, theirs = trio.testing.memory_stream_pair()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            if request:
                await ours.send_all(request)
            nursery.start_soon(serve_connection, theirs, ROUTES, EndpointLimits())
        assert trio.current_time() - began == seconds


async def test_a_peer_that_does_not_read_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, get("/health"))
        with pytest.raises(trio.TooSlowError):
            await serve_connection(theirs, ROUTES, EndpointLimits(send_s=3, request_s=10))
    assert trio.current_time() == 3


async def test_more_connections_than_allowed_are_closed_at_once(nursery: trio.Nursery) -> None:
    listener = MemoryListener()
    limits = EndpointLimits(connections=2)
    await nursery.start(lambda task_status: serve_endpoint([listener], ROUTES, limits=limits, task_status=task_status))
    first = await listener.connect()
    second = await listener.connect()
    assert b"200" in await ask(first, get("/health"))
    third = await listener.connect()
    with trio.fail_after(5):
        assert await third.receive_some(1) == b""
    await second.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert b"200" in await ask(await listener.connect(), get("/health"))
