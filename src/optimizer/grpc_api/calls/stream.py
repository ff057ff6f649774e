"""One call as its handler sees it: grpclib's server `Stream` over our transport."""

import enum
import math
from typing import Any, Final, Generic, TypeVar

import trio
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from optimizer.grpc_api.calls.failures import Failure
from optimizer.grpc_api.calls.framing import ACCEPTED, Frame, Message, encode_frame, encode_gzip
from optimizer.grpc_api.calls.metadata import Deadline, Metadata, MetadataLike, decode_metadata, encode_metadata
from optimizer.grpc_api.calls.reader import Reader
from optimizer.grpc_api.calls.routes import Route
from optimizer.grpc_api.transport.connection import Connection, Peer
from optimizer.grpc_api.transport.engine import CANCEL, Exchange, StreamGone, make_fields

Recv = TypeVar("Recv")
Send = TypeVar("Send")

_HEAD: Final = [("content-type", "application/grpc"), ("grpc-accept-encoding", ACCEPTED)]
_HEAD_PLAIN: Final = make_fields(_HEAD)
_HEAD_GZIP: Final = make_fields([*_HEAD, ("grpc-encoding", "gzip")])
_OK: Final = make_fields([("grpc-status", "0")])
_BURST: Final = 64  # messages that a handler may send before others get a turn
SMALL: Final = 1_024  # messages below it are not worth compressing


class Cause(enum.Enum):
    """Why a call was cancelled."""

    CLIENT = "client"  # it reset the stream, or its connection is lost
    DEADLINE = "deadline"
    DRAIN = "drain"


class Stream(Generic[Recv, Send]):
    """Receive messages, send messages; what grpclib's `Stream` offers to handlers, on Trio.

    `deadline` is the client's or the server's own, None when there is none; Trio's scopes enforce it, so
    `trio.current_effective_deadline()` tells it to whatever the handler calls. `user` is the authenticated caller.
    """

    __slots__ = (
        "_burst",
        "_exchange",
        "_head_sent",
        "_metadata",
        "_reader",
        "_replies",
        "_trailed",
        "admitted_at",
        "connection",
        "deadline",
        "failure",
        "fields",
        "gzip",
        "request_id",
        "requests",
        "route",
        "seconds",
        "started_at",
        "user",
    )

    def __init__(self, exchange: Exchange, connection: Connection, route: Route, fields: dict[str, bytes]) -> None:
        self._exchange = exchange
        self.fields = fields  # of the request's header, the last of each name; `metadata` has all of them
        self._metadata: Metadata | None = None
        self._reader: Reader | None = None
        self._head_sent = self._trailed = False
        self._replies = self._burst = 0
        self.requests = 0
        self.connection = connection
        self.route = route
        self.started_at = self.admitted_at = connection.read_at
        self.seconds: float | None = None  # how long it took, once it is known
        self.deadline: Deadline | None = None
        self.failure: Failure | None = None  # how the call ended; None while it runs and when it ends well
        self.gzip = False  # compress what is sent: set it before the first message
        self.request_id = ""
        self.user: Any = None

    # What a client sent

    @property
    def peer(self) -> Peer:
        return self.connection.peer

    @property
    def metadata(self) -> Metadata:
        """The request's custom metadata."""
        if self._metadata is None:
            self._metadata = decode_metadata(self._exchange.headers)
        return self._metadata

    @property
    def user_agent(self) -> str | None:
        agent = self.fields.get("user-agent")
        return None if agent is None else agent.decode("latin-1")

    @property
    def was_compressed(self) -> bool:
        """Whether the message received last was compressed."""
        return self._reader is not None and self._reader.was_compressed

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client reads compressed messages."""
        return b"gzip" in self.fields.get("grpc-accept-encoding", b"")

    @property
    def replies(self) -> int:
        """Messages sent so far."""
        return self._replies

    async def recv_message(self) -> Recv | None:
        """The next request message; None when the client has ended its side.

        Raises:
            GRPCError: the message is too large (RESOURCE_EXHAUSTED), damaged or not of its type (INTERNAL), or a method
                with one request got none or several (UNIMPLEMENTED); left alone it becomes the call's status.
        """
        route = self.route
        if self.requests and not route.client_streaming:
            return None
        if self._reader is None:
            self._reader = Reader(self._exchange, self.connection, self.fields.get("grpc-encoding", b"identity"))
        if route.client_streaming:
            message = await self._reader.read(route.request_type)
        else:
            message = self._reader.take_only(route.request_type)
            if message is None:
                message = await self._reader.read_only(route.request_type)
        if message is not None:
            self.requests += 1
        return message

    def __aiter__(self) -> "Stream[Recv, Send]":
        return self

    async def __anext__(self) -> Recv:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    # What the server answers

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        """Send the response's head now, with custom metadata; otherwise the first message does."""
        if self._head_sent:
            raise ProtocolError("initial metadata was already sent")
        self._send_head(encode_metadata(metadata) if metadata else None)

    def _send_head(self, extra: list[tuple[str, str]] | None) -> None:
        zipped = self.gzip and self.accepts_gzip
        head = _HEAD_GZIP if zipped else _HEAD_PLAIN
        if extra:
            head = make_fields([*_HEAD, *([("grpc-encoding", "gzip")] if zipped else []), *extra])
        self._head_sent = True
        try:
            self._exchange.send_head(200, head)
        except StreamGone as error:
            raise StreamTerminatedError(str(error)) from error

    async def send_message(self, message: Send | Frame, *, compress: bool | None = None) -> None:
        """Send one message; a `Frame` goes out as it is.

        Waits while the client reads too slowly. `compress` overrides `gzip` for this message; a client that does not
        accept it gets the message plain.

        Raises:
            ProtocolError: a second message of a method with one response.
            StreamTerminatedError: the client is gone.
        """
        if self._replies and not self.route.server_streaming:
            raise ProtocolError("the response message was already sent")
        if not self._head_sent:
            self.gzip = self.gzip or bool(compress)
            self._send_head(None)
        frame = message if type(message) is Frame else self._encode(message, compress)
        self._replies += 1
        self._burst += 1
        try:
            await self._exchange.send_data(frame)
        except StreamGone as error:
            raise StreamTerminatedError(str(error)) from error
        if self._burst >= _BURST:
            self._burst = 0
            await trio.lowlevel.checkpoint()

    def _encode(self, message: Any, compress: bool | None) -> Frame:
        wanted: Message = message
        if not isinstance(message, self.route.reply_type):
            raise TypeError(f"{self.route.path} answers {self.route.reply_type.__name__}, not {type(message).__name__}")
        if self.gzip and compress is not False and self.accepts_gzip and (compress or message.ByteSize() >= SMALL):
            return encode_gzip(wanted)
        return encode_frame(wanted)

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: Any = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        """End the call; without this call it ends with OK when its handler returns, or with what it raised."""
        if self._trailed:
            raise ProtocolError("trailing metadata was already sent")
        if status is Status.OK:
            self.check_replies()
            self.finish(None, metadata)
        else:
            self.finish(Failure(status, status_message or "", tuple(status_details or ())), metadata)

    def check_replies(self) -> None:
        """Raises ProtocolError when a method with one response ends well without it."""
        if not self._replies and not self.route.server_streaming:
            raise ProtocolError(f"{self.route.path} ended without its response message")

    def finish(self, failure: Failure | None, metadata: MetadataLike | None = None) -> None:
        """Send the trailers, or the head and the trailers in one; nothing when the call has ended already."""
        if self._trailed or self._exchange.over:
            return
        self._trailed = True
        self.failure = failure
        exchange = self._exchange
        if failure is None and not metadata:
            trailers = _OK
        else:
            extra = encode_metadata(metadata) if metadata else []
            trailers = make_fields([*(failure.fields() if failure else [("grpc-status", "0")]), *extra])
        try:
            if self._head_sent:
                exchange.send_trailers(trailers)
            else:
                whole = make_fields([*_HEAD, *((key, value.decode("latin-1")) for key, value in trailers.items())])
                exchange.send_head(200, whole, end=True)
        except StreamGone as error:
            raise StreamTerminatedError(str(error)) from error

    @property
    def ended(self) -> bool:
        """Whether the trailers were sent or the stream was cancelled."""
        return self._trailed or self._exchange.over

    async def cancel(self) -> None:
        """Abort the call with RST_STREAM instead of a status."""
        if self._exchange.over:
            raise ProtocolError("the call has already ended")
        self._exchange.reset(CANCEL)
        await trio.lowlevel.checkpoint()

    # What the server does to the call

    def limit(self, at: float) -> None:
        """End the call at this time of Trio's clock, unless its deadline is earlier. Only before `listen`."""
        if self.deadline is None or at < self.deadline.at:
            self.deadline = Deadline(at)

    def listen(self) -> trio.CancelScope:
        """The scope to run the call in. Its deadline is the call's; a reset by the client, a lost connection and the
        end of a drain's grace cancel it from now on.
        """
        scope = trio.CancelScope(deadline=math.inf if self.deadline is None else self.deadline.at)
        self._exchange.when_gone(scope.cancel)
        return scope

    @property
    def cause(self) -> Cause:
        """Why the scope was cancelled, if it was."""
        if self._exchange.abandoned:
            return Cause.CLIENT
        if self.deadline is not None and trio.current_time() >= self.deadline.at:
            return Cause.DEADLINE
        return Cause.DRAIN
