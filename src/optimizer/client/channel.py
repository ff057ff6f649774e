"""A channel: the address of a server, credentials, and a connection that is made anew when it is lost."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from grpclib.const import Cardinality

from optimizer.client.call import Call
from optimizer.client.connection import Connection, Headers

CONNECT_S = 10.0
Metadata = Mapping[str, str] | Iterable[tuple[str, str]]


class Channel:
    """What generated stubs call: `RoutingServiceStub(channel)`. Made by `open_channel`."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, credentials: Headers, nursery: trio.Nursery
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._credentials = credentials
        self._nursery = nursery
        self._connection: Connection | None = None
        self._connecting = trio.Lock()

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],  # noqa: ARG002 - grpclib's interface
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> Call[Any, Any]:
        """A call that has not begun; its first message, or `send_request`, begins it."""
        given = metadata.items() if isinstance(metadata, Mapping) else metadata or ()
        headers = [
            (":method", "POST"),
            (":scheme", "http" if self._tls is None else "https"),
            (":path", name),
            (":authority", f"{self._host}:{self._port}"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "llm-optimizer-client"),
            *([("grpc-timeout", f"{max(round(timeout * 1000), 1)}m")] if timeout is not None else []),
            *self._credentials,
            *given,
        ]
        return Call(self._connected, headers, cardinality, reply_type, timeout)

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.usable:
                with trio.fail_after(CONNECT_S):
                    connection = Connection(await self._open_stream())
                    await self._nursery.start(connection.run)
                self._connection = connection
            return self._connection

    async def _open_stream(self) -> trio.abc.Stream:
        if self._tls is None:
            return await trio.open_tcp_stream(self._host, self._port)
        stream = await trio.open_ssl_over_tcp_stream(self._host, self._port, ssl_context=self._tls)
        await stream.do_handshake()
        return stream


@asynccontextmanager
async def open_channel(
    host: str = "127.0.0.1",
    port: int = 50051,
    *,
    token: str | None = None,
    api_key: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Channel]:
    """A channel with a token or an API key; connects at the first call. Leaving the block ends every call.

    `tls`: a client context, such as `ssl.create_default_context()`; its ALPN is set to h2.
    """
    credentials: Headers = []
    if token is not None:
        credentials.append(("authorization", f"Bearer {token}"))
    if api_key is not None:
        credentials.append(("x-api-key", api_key))
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    async with trio.open_nursery() as nursery:
        yield Channel(host, port, tls, credentials, nursery)
        nursery.cancel_scope.cancel()
