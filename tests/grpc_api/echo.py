"""A service with the four kinds of calls and whatever the tests make it do, over well-known message types."""

from collections.abc import Mapping
from typing import Any

import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from grpclib.const import Cardinality, Handler

from optimizer.grpc_api.calls.stream import Stream

ECHO = "/test.Echo/Echo"
COUNT = "/test.Echo/Count"
SUM = "/test.Echo/Sum"
CHAT = "/test.Echo/Chat"
HANG = "/test.Echo/Hang"
RAISE = "/test.Echo/Raise"


class Echo:
    """Echo answers its text, Count streams numbers, Sum adds, Chat echoes each, Hang waits, Raise raises `error`."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.hanging = 0
        self.cancelled = 0
        self.release = trio.Event()
        self.seen: list[Any] = []

    async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
        message = await stream.recv_message()
        assert message is not None
        self.seen.append(message.value)
        await stream.send_message(message)

    async def count(self, stream: Stream[Int64Value, Int64Value]) -> None:
        limit = await stream.recv_message()
        assert limit is not None
        for number in range(limit.value):
            await stream.send_message(Int64Value(value=number))

    async def sum(self, stream: Stream[Int64Value, Int64Value]) -> None:
        total = 0
        async for number in stream:
            total += number.value
        await stream.send_message(Int64Value(value=total))

    async def chat(self, stream: Stream[StringValue, StringValue]) -> None:
        async for message in stream:
            await stream.send_message(message)

    async def hang(self, stream: Stream[StringValue, StringValue]) -> None:
        self.hanging += 1
        try:
            await self.release.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.hanging -= 1
        await stream.send_message(StringValue(value="released"))

    async def fail(self, stream: Stream[StringValue, StringValue]) -> None:
        await stream.recv_message()
        if self.error is not None:
            raise self.error

    def __mapping__(self) -> Mapping[str, Handler]:
        one, down, up, both = (
            Cardinality.UNARY_UNARY,
            Cardinality.UNARY_STREAM,
            Cardinality.STREAM_UNARY,
            Cardinality.STREAM_STREAM,
        )
        return {
            ECHO: Handler(self.echo, one, StringValue, StringValue),
            COUNT: Handler(self.count, down, Int64Value, Int64Value),
            SUM: Handler(self.sum, up, Int64Value, Int64Value),
            CHAT: Handler(self.chat, both, StringValue, StringValue),
            HANG: Handler(self.hang, one, StringValue, StringValue),
            RAISE: Handler(self.fail, one, StringValue, StringValue),
        }
