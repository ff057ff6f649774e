"""From an HTTP/2 exchange to a handler: what is not a gRPC request gets a plain HTTP answer."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer.grpc_api.calls.failures import UNIMPLEMENTED, Failure, explain
from optimizer.grpc_api.calls.framing import ACCEPTED
from optimizer.grpc_api.calls.metadata import Deadline, decode_timeout
from optimizer.grpc_api.calls.routes import Handle, Interceptor, Route, compose
from optimizer.grpc_api.calls.stream import Stream
from optimizer.grpc_api.transport.connection import Connection
from optimizer.grpc_api.transport.engine import Exchange, Fields, StreamGone, make_fields

_ENCODINGS: Final = frozenset({b"identity", b"gzip"})
_TYPES: Final = frozenset({b"application/grpc", b"application/grpc+proto"})
_BODY_S: Final = 10.0  # for the body of a request that is not gRPC, which is read and dropped before the answer
_BODY: Final = 64 * 1024
_FEW, _SMALL = 16, 2 * 1024  # fields, and bytes of their values, that need no closer look
_FIELD = 32  # what RFC 9113 6.5.2 adds to the size of each field


class Dispatcher:
    """Serves every call of a port through the interceptors; `serve` is the transport's `serve_call`."""

    def __init__(self, routes: Iterable[Route], interceptors: Iterable[Interceptor]) -> None:
        chain = list(interceptors)
        self._handles: Mapping[bytes | str, tuple[Route, Handle]] = {
            route.path: (route, compose(route, chain)) for route in routes
        }

    async def serve(self, exchange: Exchange, connection: Connection) -> None:
        """Answer one exchange. Everything that a handler can raise is contained by the outermost interceptor."""
        fields = dict(exchange.headers)
        kind = fields.get("content-type", b"")
        if exchange.method != "POST" or (kind not in _TYPES and not _is_grpc(kind)):
            await _answer_http(exchange)
            return
        known = self._handles.get(exchange.path)
        try:
            if known is None:
                _refuse(exchange, UNIMPLEMENTED)
                return
            route, handle = known
            stream: Stream[Any, Any] = Stream(exchange, connection, route, fields)
            if _needs_care(fields):
                self._prepare(stream, exchange, connection)
            await handle(stream)
        except GRPCError as error:
            _refuse(exchange, explain(error) or UNIMPLEMENTED)

    def _prepare(self, stream: Stream[Any, Any], exchange: Exchange, connection: Connection) -> None:
        """What only some requests carry: a deadline, a compression, a large header."""
        fields = stream.fields
        limits = connection.limits
        size = sum(len(name) + len(value) + _FIELD for name, value in exchange.headers)
        if len(exchange.headers) > limits.header_count or size > limits.header_list:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "the request's header is too large")
        if fields.get("grpc-encoding", b"identity") not in _ENCODINGS:
            raise GRPCError(Status.UNIMPLEMENTED, f"compression is one of {ACCEPTED}")
        if "grpc-timeout" in fields:
            stream.deadline = Deadline(stream.started_at + decode_timeout(fields["grpc-timeout"]))


def _needs_care(fields: dict[str, bytes]) -> bool:
    if "grpc-timeout" in fields or "grpc-encoding" in fields or len(fields) > _FEW:
        return True
    return sum(map(len, fields.values())) > _SMALL


def _is_grpc(kind: bytes) -> bool:
    return kind.partition(b";")[0].strip() in _TYPES


def _refuse(exchange: Exchange, failure: Failure) -> None:
    """A response that consists of trailers only."""
    if exchange.over:
        return
    fields = [("content-type", "application/grpc"), ("grpc-accept-encoding", ACCEPTED), *failure.fields()]
    try:
        exchange.send_head(200, make_fields(fields), end=True)
    except StreamGone:
        return


async def _answer_http(exchange: Exchange) -> None:
    """405 or 415 to what is not gRPC, after its body so that the answer is not a reset for clients that still send."""
    status, head, body = (415, _NOT_GRPC, _SAY_GRPC) if exchange.method == "POST" else (405, _NOT_POST, _SAY_POST)
    try:
        with trio.move_on_after(_BODY_S):
            left = _BODY
            while left > 0 and (piece := await exchange.receive()):
                left -= len(piece)
            exchange.send_head(status, head)
            await exchange.send_data(body, end=True)
    except StreamGone:
        return


_SAY_GRPC: Final = b"This port speaks gRPC: POST with content-type application/grpc.\n"
_SAY_POST: Final = b"This port speaks gRPC, which uses POST only.\n"
_PLAIN: Final = [("content-type", "text/plain"), ("x-content-type-options", "nosniff")]
_NOT_GRPC: Final[Fields] = make_fields([*_PLAIN, ("accept-post", "application/grpc")])
_NOT_POST: Final[Fields] = make_fields([*_PLAIN, ("allow", "POST")])
