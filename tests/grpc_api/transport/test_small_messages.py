"""Small messages that arrive faster than they are read are no flood."""

from collections.abc import Mapping

import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from grpclib.const import Cardinality, Handler

from optimizer.grpc_api.calls.stream import Stream
from tests.grpc_api.conftest import Connect
from tests.grpc_api.peer import data, text


class Late:
    """Counts messages, and begins late."""

    def __init__(self) -> None:
        self.begin = trio.Event()

    async def count(self, stream: Stream[StringValue, Int64Value]) -> None:
        await self.begin.wait()
        await stream.send_message(Int64Value(value=len([message async for message in stream])))

    def __mapping__(self) -> Mapping[str, Handler]:
        return {"/test.Late/Count": Handler(self.count, Cardinality.STREAM_UNARY, StringValue, Int64Value)}


async def test_small_messages_that_nobody_reads_yet_wait(connect: Connect) -> None:
    late, count = Late(), 20_000
    peer = await connect([late])
    stream_id, head = peer.request("/test.Late/Count", end=False)
    await peer.send(head, *(data(stream_id, text("x"), end=i == count - 1) for i in range(count)))
    await trio.testing.wait_all_tasks_blocked()
    late.begin.set()
    assert (await peer.answer(stream_id))["grpc-status"] == "0"
    assert Int64Value.FromString(peer.data[stream_id][5:]).value == count
    assert peer.goaways() == []
