"""The HTTP server under the application: hypercorn's Trio connection handling inside our own accept loop.

hypercorn's own loop runs every connection in one nursery without a guard, so one bad peer could end the process, and it
shields sends without a deadline, so a peer that stops reading could hold a stop for ever. Here every connection is
contained and counted, sends have a deadline, and sockets are ours.
"""

import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

log = structlog.get_logger(__name__)

BACKLOG = 256
SEND_S = 20.0  # a peer that takes no byte of an answer for this long is gone
LINGER_S = 5.0  # a client that is still sending when it has been answered gets this long, and this much, to end
LINGER_BYTES = 64 << 20
CLOSE_S = 1.0  # for closing a connection in order
UNACKED_MS = 10_000  # TCP_USER_TIMEOUT: the kernel's own bound on unacknowledged data


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds on connections; times in seconds."""

    connections: int = 1_000
    per_address: int = 200
    handshake: int = 10
    idle: int = 75
    read: int = 40  # longer than a request may take, so that a waiting client is not cut
    requests: int = 100_000  # on one connection, so that a very long-lived one moves to a new process some day


Listening = trio.SocketListener | trio.SSLListener[trio.SocketStream]
ListenSocket = Callable[[str, int], tuple[trio.SocketListener, tuple[str, int]]]


class Connection(TCPServer):
    """One connection; whatever goes wrong in it ends it and nothing else."""

    def __init__(self, app: ASGIFramework, *args: Any) -> None:
        self.serving = trio.CancelScope()
        self._idle = True  # no request is being answered
        self._changed = trio.Event()
        super().__init__(ASGIWrapper(cast("Any", lingering(app, self.serving.cancel))), *args)

    async def run(self) -> None:
        """Serve until the peer or the stop ends it."""
        try:
            with self.serving:
                await super().run()
        except Exception as error:  # noqa: BLE001  # the containment boundary: one bad peer must never end the process
            log.warning("connection dropped", error=repr(error))
            await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        """Send with a deadline of its own; a peer that does not read is cut off."""
        if isinstance(event, Updated):
            self._idle = event.idle
            self.wake()
            return
        if not isinstance(event, RawData):
            # The end of an answer is told by a task that quart-trio cancels just then: it has to get through.
            with trio.move_on_after(CLOSE_S, shield=True):
                await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                with trio.fail_after(SEND_S):
                    await self.stream.send_all(event.data)
            except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.aclose_forcefully(self.stream)
            except trio.Cancelled:
                # Half an answer may be on the wire, so the connection is of no more use. Not shielded as in hypercorn:
                # a peer that does not read would hold the stop for as long as it likes.
                await trio.aclose_forcefully(self.stream)
                raise

    def wake(self) -> None:
        """Have the connection look at its state again: it became idle or busy, or the stop began."""
        self._changed.set()
        self._changed = trio.Event()

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # the peer is gone: nothing is left to wait for

    async def _idle_timeout(self) -> None:
        """Close when idle for too long, and when idle once the stop has begun; runs as long as the connection.

        hypercorn starts such a task anew after each answer, from a task that quart-trio cancels at that moment, so that
        idle connections were never closed, and a stop waited for them to the end of its share.
        """
        while not (self._idle and self.context.terminated.is_set()):
            changed = self._changed
            with trio.move_on_after(self.config.keep_alive_timeout if self._idle else math.inf) as patience:
                await changed.wait()
            if patience.cancelled_caught:
                break
        with trio.move_on_after(CLOSE_S, shield=True):
            await self._initiate_server_close()


def lingering(app: ASGIFramework, cut: Callable[[], None]) -> ASGIFramework:
    """The application, which ends an early answer (401, 413) only when the request's body has ended too.

    Otherwise hypercorn closes under a client that is still sending, or waits for ever to hand the rest of the body to
    an application that has returned. A body that goes on beyond the bounds ends the connection.
    """

    async def framework(scope: Any, receive: Any, send: Any) -> None:
        over, seen = trio.Event(), 0

        async def tracked() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if not message.get("more_body", False) or seen >= LINGER_BYTES:
                over.set()
            return message

        async def finishing(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                with trio.move_on_after(LINGER_S):
                    await over.wait()
                if not over.is_set() or seen >= LINGER_BYTES:
                    cut()
            await send(message)

        await app(scope, tracked, finishing)

    return framework


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket of our own. OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_MS)
        sock.bind((host, port))
        sock.setblocking(False)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def listen_socket(host: str, port: int) -> tuple[trio.SocketListener, tuple[str, int]]:
    """A listener on `bind`'s socket, and its address."""
    sock = bind(host, port)
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock)), sock.getsockname()[:2]


Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Doorman:
    """Counts open connections, in all and for each address, and turns away what is over the bounds."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._by_address: dict[str, int] = {}
        self.live: dict[Stream, Connection | None] = {}  # no set: its order would differ from run to run
        self.refused = 0
        self._ended = trio.Event()

    @property
    def open(self) -> int:
        """How many connections are being served."""
        return len(self.live)

    async def empty(self) -> None:
        """Return when no connection is being served."""
        while self.live:
            await self._ended.wait()

    @asynccontextmanager
    async def admit(self, stream: Stream) -> AsyncIterator[bool]:
        """Whether the connection may be served; it counts until the block is left."""
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        try:
            address = str(transport.socket.getpeername()[0])
        except OSError:
            yield False  # gone before we looked
            return
        mine = self._by_address.get(address, 0)
        if self.open >= self.limits.connections or mine >= self.limits.per_address:
            self.refused += 1
            yield False
            return
        self.live[stream] = None
        self._by_address[address] = mine + 1
        try:
            yield True
        finally:
            self.live.pop(stream, None)
            self._ended.set()
            self._ended = trio.Event()
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


def settings_of(limits: ConnectionLimits) -> Config:
    """hypercorn's configuration for our bounds."""
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle
    config.keep_alive_max_requests = limits.requests
    config.read_timeout = limits.read
    config.ssl_handshake_timeout = limits.handshake
    config.h2_max_header_list_size = 16 * 1024
    return config


async def serve(
    app: ASGIFramework,
    listener: Listening,
    doorman: Doorman,
    config: Config,
    *,
    stop: Callable[[], Awaitable[None]],
    grace_s: float,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` returns; then accept nothing, let requests in flight finish within `grace_s`, cut the rest."""
    context = WorkerContext(None)

    async def handle(stream: Stream) -> None:
        async with doorman.admit(stream) as admitted:
            if admitted:
                connection = Connection(app, config, context, ConnectionState({}), cast("Any", stream))
                doorman.live[stream] = connection
                await connection.run()
            else:
                await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, handle, listener, connections)
            task_status.started()
            await stop()
            accepting.cancel_scope.cancel()
        await listener.aclose()
        await context.terminated.set()
        for connection in tuple(doorman.live.values()):
            if connection is not None:
                connection.wake()
        try:
            with trio.move_on_after(grace_s):
                await doorman.empty()
        finally:
            # Closing under a send ends it, also where hypercorn shields one of its own.
            with trio.move_on_after(1, shield=True):
                for stream in tuple(doorman.live):
                    await trio.aclose_forcefully(stream)
            connections.cancel_scope.cancel()


async def _accept(
    handle: Callable[..., Awaitable[None]],
    listener: Listening,
    connections: trio.Nursery,
) -> None:
    await trio.serve_listeners(handle, [listener], handler_nursery=connections)
