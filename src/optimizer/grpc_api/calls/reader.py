"""Messages out of the pieces of a request body, each bounded in size and in time."""

from typing import Any, TypeVar

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from optimizer.grpc_api.calls.framing import PREFIX, PREFIX_SIZE, Message, check_size, decode, unpack
from optimizer.grpc_api.transport.connection import Connection
from optimizer.grpc_api.transport.engine import Exchange, StreamGone

M = TypeVar("M", bound=Message)


class Reader:
    """The request messages of one call, in order. Holds at most one message and the piece that it came in."""

    __slots__ = ("_buffer", "_connection", "_encoding", "_exchange", "_start", "was_compressed")

    def __init__(self, exchange: Exchange, connection: Connection, encoding: bytes) -> None:
        self._exchange = exchange
        self._connection = connection
        self._encoding = encoding
        self._buffer = b""
        self._start = 0
        self.was_compressed = False

    async def read(self, kind: type[M]) -> M | None:
        """The next message; None at the end of the request."""
        if len(self._buffer) - self._start < PREFIX_SIZE and not await self._fill(PREFIX_SIZE):
            return None
        flag, size = PREFIX.unpack_from(self._buffer, self._start)
        limit = self._connection.limits.message
        if flag > 1:
            raise GRPCError(Status.INTERNAL, "a message begins with an unknown flag")
        check_size(size, limit)
        whole = PREFIX_SIZE + size
        if len(self._buffer) - self._start < whole:
            await self._fill(whole)
        start = self._start + PREFIX_SIZE
        self._start += whole
        payload = self._buffer[start : self._start]
        self.was_compressed = flag == 1
        if flag:
            payload = unpack(payload, self._encoding, limit)
        return decode(payload, kind)

    def take_only(self, kind: type[M]) -> M | None:
        """The one message when the whole request has arrived in one piece, as most have; else None: use `read_only`."""
        body = self._exchange.take()
        if body is None:
            return None
        self._buffer = body
        size = len(body) - PREFIX_SIZE
        if size < 0 or PREFIX.unpack_from(body) != (0, size) or size > self._connection.limits.message:
            return None  # something is special about it
        self._start = len(body)
        return decode(body[PREFIX_SIZE:], kind)

    async def read_only(self, kind: type[M]) -> M:
        """The one message of a request that has exactly one (cardinality violation, in statuscodes.md)."""
        message = await self.read(kind)
        if message is None:
            raise GRPCError(Status.UNIMPLEMENTED, "the request ended without a message")
        if self._start < len(self._buffer) or not (self._exchange.ended or await self._at_end()):
            raise GRPCError(Status.UNIMPLEMENTED, "the request has more than one message")
        return message

    async def _at_end(self) -> bool:
        while not self._exchange.ended:
            if await self._receive():
                return False
        return True

    async def _receive(self) -> bytes:
        try:
            return await self._exchange.receive()
        except StreamGone as error:
            raise StreamTerminatedError(str(error)) from error

    async def _fill(self, size: int) -> bool:
        """Have `size` bytes in the buffer; false when the request ends before the first of them."""
        pieces: list[Any] = [self._buffer[self._start :]]
        held = have = len(pieces[0])
        connection = self._connection
        connection.partial += have
        try:
            while have < size:
                if connection.partial > connection.limits.partial_messages:
                    raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many unfinished messages on this connection")
                piece = await (self._receive_rest() if have else self._receive())
                if not piece:
                    if self._exchange.ended and not have:
                        return False
                    if self._exchange.ended:
                        raise GRPCError(Status.INTERNAL, "the request ends within a message")
                    continue
                pieces.append(piece)
                have += len(piece)
                held += len(piece)
                connection.partial += len(piece)
        finally:
            connection.partial -= held
        self._buffer = b"".join(pieces)
        self._start = 0
        return True

    async def _receive_rest(self) -> bytes:
        """The next piece of a message that has begun, which must not take for ever."""
        with trio.move_on_after(self._connection.limits.message_idle_s):
            return await self._receive()
        raise GRPCError(Status.DEADLINE_EXCEEDED, "no progress within a message")
