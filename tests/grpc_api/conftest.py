"""Whole servers for the gRPC tests: the transport and the call handling, without the services of the product."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from optimizer.grpc_api.calls.dispatch import Dispatcher
from optimizer.grpc_api.calls.routes import Interceptor, Servable, list_routes
from optimizer.grpc_api.interceptors.containment import Containment
from optimizer.grpc_api.transport.connection import Connection, Peer
from optimizer.grpc_api.transport.limits import Limits
from optimizer.grpc_api.transport.listener import Port
from tests.grpc_api.echo import Echo
from tests.grpc_api.peer import RawPeer


class Journal:
    """What the port told about its connections."""

    def __init__(self) -> None:
        self.closed_connections: list[Connection] = []
        self.refusals: list[str] = []
        self.failures: list[BaseException] = []
        self.calls = 0

    def opened(self, peer: Peer) -> None:
        """Not kept."""

    def refused(self, address: str, reason: str) -> None:
        self.refusals.append(reason)

    def closed(self, connection: Connection) -> None:
        self.closed_connections.append(connection)

    def failed(self, address: str, error: BaseException) -> None:
        self.failures.append(error)

    def endings(self) -> list[tuple[str, str]]:
        """Why the connections ended, in order."""
        return [(str(each.ending and each.ending.value), each.detail) for each in self.closed_connections]


@dataclass
class Server:
    """A port that serves."""

    port: Port
    journal: Journal
    number: int = 0  # of its TCP port; 0 for one without sockets


def make_port(
    services: Sequence[Servable] = (),
    *,
    limits: Limits | None = None,
    interceptors: Sequence[Interceptor] = (),
    tls: ssl.SSLContext | None = None,
) -> tuple[Port, Journal]:
    """A port with containment, the given interceptors inside it, and the echo service unless others are given."""
    journal = Journal()
    dispatcher = Dispatcher(list_routes(services or [Echo()]), [Containment(), *interceptors])
    port = Port(dispatcher.serve, limits=limits or Limits(), watcher=journal, rand=lambda: 0.5, tls=tls)
    return port, journal


@asynccontextmanager
async def open_server(
    services: Sequence[Servable] = (),
    *,
    limits: Limits | None = None,
    interceptors: Sequence[Interceptor] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """A server on a free port of the loopback interface."""
    port, journal = make_port(services, limits=limits, interceptors=interceptors, tls=tls)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(port.serve, listeners)
        yield Server(port, journal, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


Connect = Callable[..., Awaitable[RawPeer]]


@pytest.fixture
async def connect(nursery: trio.Nursery) -> Connect:
    """Opens a raw HTTP/2 peer on a memory stream to a fresh port; `peer.journal` tells what the server saw."""

    async def connect_to(
        services: Sequence[Servable] = (),
        *,
        limits: Limits | None = None,
        interceptors: Sequence[Interceptor] = (),
        greet: bool = True,
    ) -> RawPeer:
        port, journal = make_port(services, limits=limits, interceptors=interceptors)
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(port.serve_secured, theirs, Peer(address="memory"))
        peer = RawPeer(ours, port, journal)
        if greet:
            await peer.greet()
        return peer

    return connect_to
