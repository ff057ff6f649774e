"""The port: accepts within its limits, does the TLS handshake, contains what goes wrong in a connection, drains."""

import errno
import ipaddress
import random
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import trio

from optimizer.grpc_api.transport.connection import Connection, Ending, Peer, ServeCall
from optimizer.grpc_api.transport.limits import Limits
from optimizer.grpc_api.transport.tls import name_client

S = TypeVar("S", bound=trio.abc.Stream)
_ACCEPT_RETRY: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_ACCEPT_PAUSE_S: Final = 0.1
_BACKLOG: Final = 1_024


class Watcher(Protocol):
    """Who is told about connections; must not block. See `NoWatcher` for one that ignores everything."""

    def opened(self, peer: Peer) -> None: ...
    def refused(self, address: str, reason: str) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def failed(self, address: str, error: BaseException) -> None: ...


class NoWatcher:
    """Ignores everything; for tests and measurements."""

    def opened(self, peer: Peer) -> None:
        """Ignored."""

    def refused(self, address: str, reason: str) -> None:
        """Ignored."""

    def closed(self, connection: Connection) -> None:
        """Ignored."""

    def failed(self, address: str, error: BaseException) -> None:
        """Ignored."""


class Port:
    """All connections of one port. `serve` accepts and serves; `refuse` stops accepting; `drain` ends what is open."""

    def __init__(
        self,
        serve_call: ServeCall,
        *,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        watcher: Watcher | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._serve_call = serve_call
        self._limits = limits
        self._tls = tls
        self._watcher: Watcher = watcher or NoWatcher()
        self._rand = rand
        self._by_address: Counter[str] = Counter()
        self._open = 0
        self.connections: dict[int, Connection] = {}
        self.accepting = trio.CancelScope()

    @property
    def open_calls(self) -> int:
        """Calls that are open now, over all connections."""
        return sum(len(connection.calls) for connection in self.connections.values())

    async def serve(self, listeners: Sequence[trio.abc.Listener[trio.SocketStream]]) -> None:
        """Accept until `accepting` is cancelled, then return when the last connection has ended."""
        async with trio.open_nursery() as connections:
            try:
                with self.accepting:
                    async with trio.open_nursery() as acceptors:
                        for listener in listeners:
                            acceptors.start_soon(self._accept, listener, connections)
            finally:
                for listener in listeners:
                    await trio.aclose_forcefully(listener)

    async def _accept(self, listener: trio.abc.Listener[trio.SocketStream], connections: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _ACCEPT_RETRY:
                    raise
                self._watcher.refused("", error.strerror or "accept")
                await trio.sleep(_ACCEPT_PAUSE_S)
                continue
            connections.start_soon(self.serve_stream, stream)

    async def serve_stream(self, stream: trio.SocketStream) -> None:
        """Serve one accepted socket; nothing that happens in it reaches the others."""
        address, port = _name(stream)
        group = _group(address)
        reason = self._refusal(group)
        if reason is not None:
            self._watcher.refused(address, reason)
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        self._by_address[group] += 1
        try:
            await self._contain(stream, address, port)
        finally:
            self._open -= 1
            self._by_address[group] -= 1
            if not self._by_address[group]:
                del self._by_address[group]

    def _refusal(self, group: str) -> str | None:
        if self._open >= self._limits.connections:
            return "connections"
        if self._by_address[group] >= self._limits.connections_per_ip:
            return "connections_per_ip"
        return None

    async def _contain(self, stream: trio.SocketStream, address: str, port: int) -> None:
        try:
            secured = await self._secure(stream, address, port)
            if secured is not None:
                await self.serve_secured(*secured)
        except Exception as error:  # noqa: BLE001  # the boundary: a fault ends its connection and is told, nothing else
            self._watcher.failed(address, error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _secure(
        self, stream: trio.SocketStream, address: str, port: int
    ) -> "tuple[trio.abc.Stream, Peer] | None":
        if self._tls is None:
            return stream, Peer(address=address, port=port)
        try:
            wrapped = await secure(stream, self._tls, self._limits.handshake_s)
        except trio.TooSlowError:
            self._watcher.refused(address, "handshake")
            return None
        except trio.BrokenResourceError as error:
            self._watcher.refused(address, f"handshake: {error.__cause__ or error}")
            return None
        return wrapped, Peer(address=address, port=port, secure=True, identity=name_client(wrapped))

    async def serve_secured(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """Serve HTTP/2 on a stream that is ready to carry it."""
        jitter = 1 + self._limits.age_jitter * (2 * self._rand() - 1)
        age_s = self._limits.age_s * jitter

        def tell_fault(error: BaseException) -> None:
            self._watcher.failed(peer.address, error)

        connection = Connection(peer, self._limits, age_s=age_s, on_fault=tell_fault)
        self.connections[id(connection)] = connection
        self._watcher.opened(peer)
        try:
            await connection.serve(stream, self._serve_call)
        finally:
            del self.connections[id(connection)]
            self._watcher.closed(connection)

    async def drain(self, grace_s: float) -> None:
        """Two-phase GOAWAY on every connection; returns at once. `serve` returns when all have ended."""
        for connection in list(self.connections.values()):
            await connection.drain(Ending.DRAIN, grace_s)


async def secure(stream: S, context: ssl.SSLContext, handshake_s: float) -> "trio.SSLStream[S]":
    """The stream inside TLS.

    Raises:
        TooSlowError: the handshake took longer than `handshake_s`.
        BrokenResourceError: it failed; its cause says why.
    """
    wrapped = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    with trio.fail_after(handshake_s):
        await wrapped.do_handshake()
    return wrapped


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of `host`. Raises OSError when the port is taken."""
    return await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)


def _name(stream: trio.SocketStream) -> tuple[str, int]:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "gone", 0
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("local", 0)


def _group(address: str) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that one IPv6 customer holds."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
