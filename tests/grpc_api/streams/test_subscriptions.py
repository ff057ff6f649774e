"""Subscriptions: bounded, encoded once, told when they are too slow or the server stops."""

from typing import Any

import pytest
import trio
from google.protobuf.wrappers_pb2 import Int64Value

from optimizer.bus import Topic
from optimizer.grpc_api.calls.framing import PREFIX, Frame
from optimizer.grpc_api.streams.memo import Memo
from optimizer.grpc_api.streams.subscriptions import Feed, Subscriptions
from optimizer.model import ResourceExhausted, Unavailable


class Reader:
    """A call whose client reads when `gate` is open."""

    def __init__(self, *, slow: bool = False) -> None:
        self.user = None
        self.request_id = ""
        self.values: list[int] = []
        self.sends = 0
        self.gate = trio.Event()
        if not slow:
            self.gate.set()

    async def send_message(self, message: Any) -> None:
        await self.gate.wait()
        assert type(message) is Frame
        self.sends += 1
        data = bytes(message)
        while data:
            _, size = PREFIX.unpack_from(data)
            self.values.append(Int64Value.FromString(data[PREFIX.size : PREFIX.size + size]).value)
            data = data[PREFIX.size + size :]
        await trio.lowlevel.checkpoint()

    async def recv_message(self) -> None:
        return None

    def __aiter__(self) -> "Reader":
        return self

    async def __anext__(self) -> None:
        raise StopAsyncIteration


class Encoder:
    """Counts what it encodes."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, number: list[int]) -> Int64Value:
        self.count += 1
        return Int64Value(value=number[0])


def everything(_event: object) -> bool:
    return True


async def test_an_event_is_encoded_once_for_all_who_want_it() -> None:
    topic, encoder, readers = Topic[list[int]]("t"), Encoder(), [Reader() for _ in range(50)]
    feed = Feed(Subscriptions(most=100, buffer=10), topic, encoder)
    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(feed.serve, reader, everything)
        odd = Reader()
        nursery.start_soon(feed.serve, odd, lambda event: event[0] % 2 == 1)
        await trio.testing.wait_all_tasks_blocked()
        for i in range(8):
            await topic.publish([i])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(reader.values == list(range(8)) for reader in readers)
    assert odd.values == [1, 3, 5, 7]
    assert encoder.count == 8


async def test_what_waits_leaves_together() -> None:
    topic, reader = Topic[list[int]]("t"), Reader(slow=True)
    feed = Feed(Subscriptions(most=1, buffer=100), topic, Encoder())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve, reader, everything)
        await trio.testing.wait_all_tasks_blocked()
        for i in range(50):
            await topic.publish([i])
        reader.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert reader.values == list(range(50))
    assert reader.sends <= 3


async def test_a_reader_that_is_too_slow_gets_what_is_buffered_and_is_told() -> None:
    topic, slow, fast = Topic[list[int]]("t"), Reader(slow=True), Reader()
    feed = Feed(Subscriptions(most=10, buffer=5), topic, Encoder())
    ended: list[str] = []

    async def read(reader: Reader) -> None:
        with pytest.raises(ResourceExhausted, match="too slowly"):
            await feed.serve(reader, everything)
        ended.append("slow")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, slow)
        nursery.start_soon(feed.serve, fast, everything)
        await trio.testing.wait_all_tasks_blocked()
        for i in range(100):
            await topic.publish([i])
            await trio.testing.wait_all_tasks_blocked()
        slow.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["slow"]
        nursery.cancel_scope.cancel()
    assert slow.values == list(range(6)), "one in hand and five in the buffer"
    assert fast.values == list(range(100))


async def test_subscriptions_are_bounded_in_number() -> None:
    topic, subscriptions = Topic[list[int]]("t"), Subscriptions(most=2, buffer=1)
    feed = Feed(subscriptions, topic, Encoder())
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(feed.serve, Reader(), everything)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ResourceExhausted):
            await feed.serve(Reader(), everything)
        nursery.cancel_scope.cancel()
    assert len(subscriptions) == 0


async def test_a_drain_ends_them_and_refuses_new_ones() -> None:
    subscriptions, topic, told = Subscriptions(most=10, buffer=1), Topic[list[int]]("t"), list[str]()
    feed = Feed(subscriptions, topic, Encoder())

    async def read() -> None:
        with pytest.raises(Unavailable):
            await feed.serve(Reader(), everything)
        told.append("stopping")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        subscriptions.close()
    await read()
    assert told == ["stopping"] * 4


async def test_with_an_interval_the_newest_of_each_key_comes(autojump_clock: trio.testing.MockClock) -> None:
    topic, reader, encoder = Topic[list[int]]("t"), Reader(), Encoder()
    feed = Feed(Subscriptions(most=1, buffer=100), topic, encoder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve_newest, reader, everything, lambda event: event[0] % 2, 10)
        await trio.testing.wait_all_tasks_blocked()
        for i in range(20):
            await topic.publish([i])
        await trio.sleep(9)
        assert reader.values == []
        await trio.sleep(2)
        assert sorted(reader.values) == [18, 19]
        await trio.sleep(30)
        assert len(reader.values) == 2, "nothing new, nothing sent"
        nursery.cancel_scope.cancel()
    assert encoder.count == 2


def test_a_memo_is_by_identity_and_bounded() -> None:
    made: list[int] = []

    def make(source: list[int]) -> int:
        made.append(source[0])
        return source[0]

    memo = Memo(make, 3)
    sources = [[i] for i in range(5)]
    assert [memo(source) for source in (*sources, sources[4], [4])] == [0, 1, 2, 3, 4, 4, 4]
    assert made == [0, 1, 2, 3, 4, 4]
    assert memo(sources[0]) == 0
    assert made[-1] == 0, "forgotten, and made again"
