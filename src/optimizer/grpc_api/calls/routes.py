"""Which methods exist: the table from path to handler, made once from the services' own mappings."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from grpclib.const import Handler as GrpclibHandler

from optimizer.model import ConfigurationError

if TYPE_CHECKING:
    from optimizer.grpc_api.calls.stream import Stream

Handle = Callable[["Stream[Any, Any]"], Awaitable[None]]


class Servable(Protocol):
    """A service as grpclib's generator writes it."""

    def __mapping__(self) -> Mapping[str, GrpclibHandler]: ...


class Interceptor(Protocol):
    """Wraps the handling of a method.

    Called once per method when the server starts, so that what does not change between calls is worked out before the
    first one; may return `handle` itself when the method is none of its business.
    """

    def wrap(self, route: "Route", handle: Handle) -> Handle: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method."""

    path: str  # "/package.Service/Method"
    service: str
    method: str
    client_streaming: bool
    server_streaming: bool
    request_type: type[Any]
    reply_type: type[Any]
    handler: Handle

    @property
    def kind(self) -> str:
        """How gRPC's metrics name the four kinds."""
        client, server = ("stream" if many else "unary" for many in (self.client_streaming, self.server_streaming))
        return {"unary-unary": "unary", "unary-stream": "server_stream", "stream-unary": "client_stream"}.get(
            f"{client}-{server}", "bidi_stream"
        )


def list_routes(services: Iterable[Servable]) -> list[Route]:
    """The methods of the services. Raises ConfigurationError when two of them have the same path."""
    routes: dict[str, Route] = {}
    for servable in services:
        for path, handler in servable.__mapping__().items():
            if path in routes:
                raise ConfigurationError(f"two services offer {path}")
            _, service, method = path.split("/")
            routes[path] = Route(
                path=path,
                service=service,
                method=method,
                client_streaming=handler.cardinality.client_streaming,
                server_streaming=handler.cardinality.server_streaming,
                request_type=handler.request_type,
                reply_type=handler.reply_type,
                handler=handler.func,
            )
    return list(routes.values())


def compose(route: Route, interceptors: Iterable[Interceptor]) -> Handle:
    """The handler inside its interceptors, the first one outermost."""
    handle = route.handler
    for interceptor in reversed(list(interceptors)):
        handle = interceptor.wrap(route, handle)
    return handle
