"""httpunk's HTTP/2 state machine as requests and responses: the only module that imports httpunk.

`Engine` is its server connection with the accept queue replaced by a callback, `Exchange` one request and its response.
What httpunk needs of Trio is in `runtime`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import trio
from httpunk._httpunk import H2_FLAG_WAKE
from httpunk.exceptions import ConnectionClosedError, H2Error, H2ProtocolError, H2StreamError, HTTPunkError
from httpunk.h2.server import ServerConnection
from httpunk.http import HeaderMap

from optimizer.grpc_api.transport.limits import Limits
from optimizer.grpc_api.transport.runtime import Event, Queue, TrioRuntime

PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0x1, 0x2, 0x7, 0x8, 0xB  # RFC 9113 7
Fields = HeaderMap  # header fields in the engine's own form; `make_fields` once, send often


def make_fields(fields: Iterable[tuple[str, str]]) -> HeaderMap:
    """Header fields ready to send. Raises ValueError for a name or value that HTTP forbids."""
    return HeaderMap(fields)


_CLOSED = (ConnectionClosedError, trio.BrokenResourceError, trio.ClosedResourceError)


class StreamGone(Exception):
    """The peer reset the stream or the connection is lost; nothing more can be sent or received on it."""


class Pipe(Protocol):
    """The bytes below: what a connection reads from and writes to, and how much it still has to write."""

    unsent: int  # bytes of DATA queued and not yet written
    large: set[int]  # streams whose header blocks, just received, are larger than allowed
    answers: int  # heads and pieces of DATA queued so far

    async def room(self) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...
    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def aclose(self) -> None: ...


class Exchange:
    """One request and its response. Reading releases flow control, writing obeys it."""

    __slots__ = (
        "_engine",
        "_handle",
        "authority",
        "ended",
        "head_sent",
        "headers",
        "id",
        "interrupt",
        "method",
        "over",
        "path",
        "scheme",
    )

    def __init__(self, engine: "Engine", handle: Any, frame: Any, ended: bool) -> None:
        self._engine = engine
        self._handle = handle
        self.id: int = handle.id
        self.method: str = frame.method
        self.scheme: str = frame.scheme
        self.authority: str | None = frame.authority
        self.path: str = frame.path
        self.headers: list[tuple[str, bytes]] = frame.headers.items()
        self.ended = ended  # nothing more will be received
        self.head_sent = False
        self.over = False  # nothing more will be sent
        self.interrupt: Callable[[], object] | None = None  # what a drain calls at the end of its grace

    @property
    def abandoned(self) -> bool:
        """True once the client has reset the stream or the connection is lost."""
        return bool(self._handle.reset_evt.is_set())

    def when_gone(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` if the client resets the stream, the connection is lost, or a drain's grace is over."""
        self.interrupt = cancel
        gone: Event = self._handle.reset_evt
        if gone.is_set():
            cancel()
        else:
            gone.notify = cancel

    def take(self) -> bytes | None:
        """The whole body when it has arrived in one piece and is ended; None when it has to be awaited."""
        queue: Queue = self._handle.body_recv
        if self.ended or not queue.is_whole():
            return None
        piece, budgeted = queue.take()
        queue.take()
        self.ended = True
        self._engine.release(self.id, len(piece), budgeted)
        return piece  # type: ignore[no-any-return]  # the engine hands out bytes

    async def receive(self) -> bytes:
        """The next piece of the body; empty when the client has ended it.

        Raises:
            StreamGone: the stream was reset or the connection is lost.
        """
        if self.ended:
            return b""
        queue: Queue = self._handle.body_recv
        item = queue.take() if len(queue) else await queue.receive()
        if item is None:
            self.ended = True
            return b""
        if type(item) is not tuple:
            raise StreamGone(self._engine.describe(self._handle, item))
        piece: bytes = item[0]
        self._engine.release(self.id, len(piece), item[1])
        self.ended = queue.take_end()
        return piece

    def send_head(self, status: int, fields: HeaderMap, *, end: bool = False) -> None:
        """Queue the response's head; `end` makes it the whole response. Raises StreamGone."""
        self.over = end
        engine = self._engine
        engine.pipe.answers += 1
        engine.act(self._handle, engine.send_response_head(self.id, status, fields, end))
        self.head_sent = True

    async def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Queue one piece of the body, the last one when `end`.

        Waits for flow control, and while the connection has too much unsent.

        Raises:
            StreamGone: the stream was reset or the connection is lost.
        """
        engine, handle = self._engine, self._handle
        pipe = engine.pipe
        if pipe.unsent >= engine.unsent_limit:
            await pipe.room()
        offset = 0
        while True:
            verdict = engine.send_data(self.id, data, offset, end)
            engine.act(handle, verdict)
            if verdict.sent:
                offset += verdict.sent
                pipe.unsent += verdict.sent
                pipe.answers += 1
            if verdict.done:
                self.over = self.over or end
                return
            if not verdict.sent:
                # The engine sets the event after it changed the window, and nothing runs between these two lines.
                handle.window_evt.clear()
                await handle.window_evt.wait()

    def send_trailers(self, fields: HeaderMap) -> None:
        """Queue the trailers, which end the response. Raises StreamGone."""
        self.over = True
        engine = self._engine
        engine.act(self._handle, engine.send_trailers(self.id, fields))

    def reset(self, code: int) -> None:
        """Abort the stream with RST_STREAM; nothing happens when it has ended."""
        self.over = True
        self._engine.abort(self._handle, code)


class Engine(ServerConnection):
    """One server connection: frames in, exchanges out. `open_exchange` is called for each request, sync."""

    def __new__(cls, pipe: Pipe, limits: Limits, **_options: object) -> "Engine":
        engine: Engine = super().__new__(cls, pipe, **_profile(limits))
        return engine

    def __init__(
        self, pipe: Pipe, limits: Limits, *, nursery: trio.Nursery, open_exchange: Callable[[Exchange], None]
    ) -> None:
        super().__init__(pipe, backend=TrioRuntime(nursery), **_profile(limits))
        self.pipe = pipe
        self.unsent_limit = limits.connection_unsent
        self.refusing = False  # every new stream is answered with REFUSED_STREAM
        self.finished = trio.Event()  # the connection failed, or its graceful end is complete
        self._open_exchange = open_exchange

    # What the driver calls

    def _on_request(self, handle: Any, frame: Any, eof: bool) -> None:
        if self.refusing:
            raise H2StreamError(handle.id, REFUSED_STREAM, "library")
        if self.pipe.large and handle.id in self.pipe.large:
            raise H2StreamError(handle.id, ENHANCE_YOUR_CALM, "library")
        if not (frame.method and frame.scheme and frame.path) or frame.status is not None:
            raise H2StreamError(handle.id, PROTOCOL_ERROR, "library")  # RFC 9113 8.1.1 and 8.3.1
        self._open_exchange(Exchange(self, handle, frame, eof))

    def _on_conn_done(self) -> None:
        self.finished.set()

    def _on_stop_accepting(self) -> None:
        self.finished.set()

    # What an exchange calls

    def act(self, handle: Any, verdict: Any) -> None:
        """Do what a verdict of the state asks for; raises StreamGone when the stream has stopped."""
        if verdict.stopped is not None:
            raise StreamGone(self.describe(handle, verdict.stopped))
        if verdict.flags:
            if verdict.flags == H2_FLAG_WAKE:
                self._write_evt.set()
            else:
                self._after(verdict.flags)
        if verdict.handle is not None:
            self._notify_reset(verdict.handle, verdict.reader_stop)

    def release(self, stream_id: int, size: int, budgeted: bool) -> None:
        """Give flow control back for what the call has consumed."""
        if budgeted:
            self.release_data_frame(stream_id, size)
        flags = self.release_capacity(stream_id, size)
        if flags:
            self._after(flags)

    def abort(self, handle: Any, code: int) -> None:
        self._reset(handle, code)

    def describe(self, handle: Any, stop: Any) -> str:
        return str(self._stopped_error(handle, stop))

    # What the connection calls

    def break_off(self, reason: str) -> None:
        """End the connection with GOAWAY(ENHANCE_YOUR_CALM)."""
        self._after(self.send_goaway(ENHANCE_YOUR_CALM))
        self._fail(flood(reason))

    def failure(self) -> str | None:
        """Why the connection ended, when it was a violation or a fault rather than its peer closing it."""
        error = self.conn_error()
        if error is None or isinstance(error, _CLOSED):
            return None
        return f"{type(error).__name__}: {error}"

    def failed_by_peer(self) -> bool:
        """True when the failure is the peer's violation of HTTP/2 and not a fault of ours."""
        return isinstance(self.conn_error(), HTTPunkError)


def flood(reason: str) -> H2Error:
    """What a pipe raises from `receive_some` to end the connection with GOAWAY(ENHANCE_YOUR_CALM)."""
    return H2ProtocolError(ENHANCE_YOUR_CALM, reason)


def _profile(limits: Limits) -> dict[str, Any]:
    return {
        "max_concurrent_streams": limits.streams,
        "initial_window_size": limits.stream_window,
        "initial_connection_window_size": limits.connection_window,
        "max_frame_size": limits.frame,
        # The engine leaves out fields beyond its own limit and says nothing; with twice the size, and blocks on the
        # wire bounded by the limit itself, what is left tells for certain that there was too much.
        "max_header_list_size": 2 * limits.header_list,
        "data_frame_budget": limits.small_frames_unread,
        "max_pending_accept_reset_streams": limits.refused_streams_waiting,
        "max_local_error_reset_streams": limits.protocol_errors,
        "max_send_buf_size": limits.stream_unsent,
        "auto_date_header": False,
    }
