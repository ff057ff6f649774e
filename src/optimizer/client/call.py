"""One call as its caller sees it: grpclib's client `Stream` interface, on Trio."""

import struct
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar
from urllib.parse import unquote

import trio
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, ProtocolError

from optimizer.client.connection import Connection, ConnectionLost, Exchange, Headers

Send = TypeVar("Send")
Recv = TypeVar("Recv")
PREFIX = struct.Struct(">BI")
LARGEST = 64 << 20  # bytes of one reply: sixteen times what servers accept by default


class Connect(Protocol):
    """Finds the connection that a call uses."""

    async def __call__(self) -> Connection: ...


class Call(Generic[Send, Recv]):
    """Use it as a context manager: leaving it early cancels the call. Messages may be sent and received at once.

    Raises GRPCError with the status that the call ended with: UNAVAILABLE when the connection is lost,
    DEADLINE_EXCEEDED when `timeout` has passed.
    """

    def __init__(
        self,
        connect: Connect,
        headers: Headers,
        cardinality: Cardinality,
        reply_type: type[Recv],
        timeout: float | None,
    ) -> None:
        self._connect = connect
        self._headers = headers
        self._cardinality = cardinality
        self._reply_type = reply_type
        self._deadline = float("inf") if timeout is None else trio.current_time() + timeout
        self._exchange: Exchange | None = None
        self._sent_all = False
        self._replies = 0
        self._checked = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exchange = self._exchange
        try:
            if error is None and exchange is not None and not self._cardinality.server_streaming:
                await self._end()
        finally:
            if exchange is not None:
                exchange.connection.close(exchange)

    async def send_request(self, *, end: bool = False) -> None:
        """Begin the call without a message; the first message does so otherwise."""
        if self._exchange is not None:
            raise ProtocolError("the request was sent already")
        self._sent_all = end
        with self._within_deadline():
            try:
                connection = await self._connect()
                self._exchange = await connection.open(self._headers, end=end)
            except (ConnectionLost, OSError) as error:
                raise GRPCError(Status.UNAVAILABLE, str(error)) from error

    async def send_message(self, message: Send, *, end: bool = False) -> None:
        """Send one message; `end` says that it is the last."""
        if self._exchange is None:
            await self.send_request()
        exchange = self._opened()
        if self._sent_all:
            raise ProtocolError("the last message was sent already")
        self._sent_all = end
        payload: bytes = message.SerializeToString()  # type: ignore[attr-defined]  # a protobuf message
        with self._within_deadline():
            await exchange.connection.send(exchange, PREFIX.pack(0, len(payload)) + payload, end=end)

    async def end(self) -> None:
        """Say that no message follows."""
        exchange = self._opened()
        if not self._sent_all:
            self._sent_all = True
            await exchange.connection.send(exchange, b"", end=True)

    async def recv_initial_metadata(self) -> Headers:
        """The response's head, as soon as the server has accepted the call."""
        exchange = self._opened()
        await self._wait_for(lambda: exchange.headers is not None)
        if exchange.ended and exchange.headers is not None and _find(exchange.headers, "grpc-status"):
            await self._end()
        return exchange.headers or []

    async def recv_message(self) -> Recv | None:
        """The next message, None after the last. Raises GRPCError when the call did not end well."""
        exchange = self._opened()
        if not await self._has(PREFIX.size):
            await self._end()
            return None
        flag, size = PREFIX.unpack_from(exchange.received)
        if flag or size > LARGEST:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"a reply of {size} bytes, or compressed; at most {LARGEST}")
        if not await self._has(PREFIX.size + size):
            raise GRPCError(Status.INTERNAL, "the reply ended in the middle of a message")
        payload = bytes(exchange.received[PREFIX.size : PREFIX.size + size])
        del exchange.received[: PREFIX.size + size]
        exchange.repay()
        self._replies += 1
        parsed: Recv = self._reply_type.FromString(payload)  # type: ignore[attr-defined]  # a protobuf message
        return parsed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Recv:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def cancel(self) -> None:
        """Tell the server that nothing more is wanted."""
        exchange = self._opened()
        exchange.connection.close(exchange)
        await trio.lowlevel.checkpoint()

    async def _has(self, size: int) -> bool:
        exchange = self._opened()
        await self._wait_for(lambda: len(exchange.received) >= size)
        return len(exchange.received) >= size

    async def _end(self) -> None:
        """Wait for the status and raise it unless it is OK."""
        if self._checked:
            return
        exchange = self._opened()
        await self._wait_for(lambda: False)
        self._checked = True
        fields = exchange.trailers or exchange.headers or []
        code = _find(fields, "grpc-status")
        if code is None:
            raise GRPCError(Status.UNKNOWN, f"no gRPC status; HTTP status {_find(fields, ':status')}")
        status = Status(int(code)) if code.isdigit() and int(code) <= 16 else Status.UNKNOWN
        if status is not Status.OK:
            raise GRPCError(status, unquote(_find(fields, "grpc-message") or ""))

    async def _wait_for(self, done: Any) -> None:
        """Return when it is done or the server has ended the call; raises GRPCError when the call is lost."""
        exchange = self._opened()
        with self._within_deadline():
            while not done() and not exchange.ended:
                if exchange.lost is not None:
                    raise GRPCError(Status.UNAVAILABLE, exchange.lost)
                await exchange.changed()

    def _within_deadline(self) -> "_Deadline":
        return _Deadline(self._deadline)

    def _opened(self) -> Exchange:
        if self._exchange is None:
            raise ProtocolError("the request was not sent yet")
        return self._exchange


class _Deadline:
    """A block that ends with DEADLINE_EXCEEDED."""

    def __init__(self, at: float) -> None:
        self._scope = trio.CancelScope(deadline=at)

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        absorbed = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the deadline has passed")
        return absorbed


def _find(fields: Headers, name: str) -> str | None:
    return next((value for key, value in fields if key == name), None)
