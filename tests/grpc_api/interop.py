"""The server side of gRPC's interoperability tests over our call handling.

Run it alone to point other clients at it: `python -m tests.grpc_api.interop --port 10000`.
"""

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import trio
from google.protobuf.descriptor import FieldDescriptor
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from optimizer.grpc_api.calls.stream import Stream

SERVICE = "/grpc.testing.TestService/"
_ECHO_INITIAL = "x-grpc-test-echo-initial"
_ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"


@functools.cache
def messages() -> Any:
    """The module of the messages, compiled from the .proto beside this file."""
    return grpc.protos(str(Path(__file__).with_suffix(".proto").relative_to(Path.cwd())))


def _wants(parent: Any, field: str) -> bool | None:
    """A BoolValue field: its value, None when it is not set."""
    assert parent.DESCRIPTOR.fields_by_name[field].type == FieldDescriptor.TYPE_MESSAGE
    return bool(getattr(parent, field).value) if parent.HasField(field) else None


def _check_compression(stream: Stream[Any, Any], request: Any) -> None:
    expected = _wants(request, "expect_compressed")
    if expected is not None and expected != stream.was_compressed:
        raise GRPCError(Status.INVALID_ARGUMENT, "the message is not compressed as announced")


class TestService:
    """The methods, as the descriptions of the test cases define them."""

    __test__ = False  # not a test class

    async def empty(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        await stream.send_message(messages().Empty())

    async def unary(self, stream: Stream[Any, Any]) -> None:
        request: Any = await stream.recv_message()
        _check_compression(stream, request)
        await self._echo_metadata(stream)
        if request.response_status.code:
            await self._end(stream, request.response_status)
            return
        payload = messages().Payload(body=bytes(request.response_size))
        compress = _wants(request, "response_compressed")
        await stream.send_message(messages().SimpleResponse(payload=payload), compress=compress)
        await self._end(stream, request.response_status)

    async def output(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        await self._answer(stream, request)

    async def input(self, stream: Stream[Any, Any]) -> None:
        total = 0
        async for request in stream:
            _check_compression(stream, request)
            total += len(request.payload.body)
        await stream.send_message(messages().StreamingInputCallResponse(aggregated_payload_size=total))

    async def duplex(self, stream: Stream[Any, Any]) -> None:
        await self._echo_metadata(stream)
        async for request in stream:
            if request.response_status.code:
                await self._end(stream, request.response_status)
                return
            await self._answer(stream, request)
        await self._end(stream, messages().EchoStatus())

    async def _answer(self, stream: Stream[Any, Any], request: Any) -> None:
        for wanted in request.response_parameters:
            if wanted.interval_us:
                await trio.sleep(wanted.interval_us / 1e6)
            payload = messages().Payload(body=bytes(wanted.size))
            reply = messages().StreamingOutputCallResponse(payload=payload)
            await stream.send_message(reply, compress=_wants(wanted, "compressed"))

    async def _echo_metadata(self, stream: Stream[Any, Any]) -> None:
        stream.gzip = stream.accepts_gzip
        value = stream.metadata.get(_ECHO_INITIAL)
        if value is not None:
            await stream.send_initial_metadata(metadata={_ECHO_INITIAL: value})

    async def _end(self, stream: Stream[Any, Any], status: Any) -> None:
        value = stream.metadata.get(_ECHO_TRAILING)
        await stream.send_trailing_metadata(
            status=Status(status.code),
            status_message=status.message or None,
            metadata=None if value is None else {_ECHO_TRAILING: value},
        )

    def __mapping__(self) -> Mapping[str, Handler]:
        m = messages()
        one, down = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        up, both = Cardinality.STREAM_UNARY, Cardinality.STREAM_STREAM
        request, reply = m.StreamingOutputCallRequest, m.StreamingOutputCallResponse
        return {
            SERVICE + "EmptyCall": Handler(self.empty, one, m.Empty, m.Empty),
            SERVICE + "UnaryCall": Handler(self.unary, one, m.SimpleRequest, m.SimpleResponse),
            SERVICE + "CacheableUnaryCall": Handler(self.unary, one, m.SimpleRequest, m.SimpleResponse),
            SERVICE + "StreamingOutputCall": Handler(self.output, down, request, reply),
            SERVICE + "StreamingInputCall": Handler(
                self.input, up, m.StreamingInputCallRequest, m.StreamingInputCallResponse
            ),
            SERVICE + "FullDuplexCall": Handler(self.duplex, both, request, reply),
        }


async def serve(port: int) -> None:
    """Serve on the loopback interface until cancelled."""
    from optimizer.grpc_api.calls import Dispatcher, list_routes
    from optimizer.grpc_api.interceptors import Containment
    from optimizer.grpc_api.transport import Limits, Port, open_listeners

    dispatcher = Dispatcher(list_routes([TestService()]), [Containment()])
    await Port(dispatcher.serve, limits=Limits()).serve(await open_listeners("127.0.0.1", port))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=10000)
    trio.run(serve, parser.parse_args().port)
