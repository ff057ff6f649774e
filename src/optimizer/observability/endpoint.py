"""The operator's HTTP endpoint (/metrics, /health, ...): GET only, small, bounded, each connection contained.

It shares nothing with the public ports, so that it answers to the end of the drain and when they are overloaded.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import h11
import structlog
import trio

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a route answers."""

    status: int
    content_type: str
    body: bytes


Route = Callable[[], Answer]
Listener = trio.abc.Listener[trio.abc.Stream]
Listen = Callable[[str, int], Awaitable[Sequence[Listener]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLimits:
    """Bounds of the endpoint. Scrapers and probes need a handful of connections, small requests and little time."""

    connections: int = 64
    header_bytes: int = 16 * 1024
    request_s: float = 5.0
    idle_s: float = 60.0
    send_s: float = 10.0
    requests_per_connection: int = 1000


async def listen_tcp(host: str, port: int) -> Sequence[Listener]:
    """Listening sockets; raises OSError when the address is taken or not ours."""
    return await trio.open_tcp_listeners(port, host=host)


def port_of(listener: Listener) -> int | None:
    """The port that a socket listener is bound to (it matters when 0 was asked for); None for other listeners."""
    if isinstance(listener, trio.SocketListener):
        return int(listener.socket.getsockname()[1])
    return None


async def serve_endpoint(
    listeners: Sequence[Listener],
    routes: Mapping[str, Route],
    *,
    limits: EndpointLimits | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the routes on the listeners (which it closes at its end) until cancelled."""
    bounds = EndpointLimits() if limits is None else limits
    free = trio.Semaphore(bounds.connections)

    async def contain(stream: trio.abc.Stream) -> None:
        try:
            free.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            await serve_connection(stream, routes, bounds)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            log.debug("endpoint: connection lost")
        except Exception:
            log.exception("endpoint: connection failed")
        finally:
            free.release()
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(contain, list(listeners), task_status=_Started(task_status))


async def serve_connection(stream: trio.abc.Stream, routes: Mapping[str, Route], limits: EndpointLimits) -> None:
    """HTTP/1.1 on one stream until the peer leaves, misbehaves, or is idle for too long."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
    for number in range(limits.requests_per_connection):
        with trio.move_on_after(limits.idle_s if number else limits.request_s):
            if not await _serve_request(connection, stream, routes, limits):
                return
            connection.start_next_cycle()
            continue
        return


async def _serve_request(
    connection: h11.Connection, stream: trio.abc.Stream, routes: Mapping[str, Route], limits: EndpointLimits
) -> bool:
    """Answer one request; true when the connection can carry another."""
    try:
        request = await _receive_request(connection, stream)
    except h11.RemoteProtocolError as exc:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await _send(connection, stream, _text(exc.error_status_hint, "bad request\n"), limits, close=True)
        return False
    if request is None:
        return False
    keep = connection.their_state is h11.DONE  # a request with a body is answered, and its connection not kept
    answer = _answer(request, routes)
    await _send(connection, stream, answer, limits, close=not keep, head=request.method == b"HEAD")
    return keep and connection.our_state is h11.DONE


async def _receive_request(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """The next request's head, and its end when it has no body; None when the peer left."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(16 * 1024)))
        elif isinstance(event, h11.Request):
            if not any(name in (b"content-length", b"transfer-encoding") for name, _ in event.headers):
                connection.next_event()
            return event
        else:
            return None


def _answer(request: h11.Request, routes: Mapping[str, Route]) -> Answer:
    if request.method not in (b"GET", b"HEAD"):
        return _text(405, "only GET here\n")
    route = routes.get(request.target.split(b"?", 1)[0].decode("ascii", "replace"))
    if route is None:
        return _text(404, f"one of {' '.join(routes)}\n")
    try:
        return route()
    except Exception:
        log.exception("endpoint: route failed", target=request.target.decode("ascii", "replace"))
        return _text(500, "this route failed; see the log\n")


async def _send(
    connection: h11.Connection,
    stream: trio.abc.Stream,
    answer: Answer,
    limits: EndpointLimits,
    *,
    close: bool,
    head: bool = False,
) -> None:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if close:
        headers.append(("Connection", "close"))
    parts = [connection.send(h11.Response(status_code=answer.status, headers=headers))]
    if not head:
        parts.append(connection.send(h11.Data(data=answer.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    with trio.fail_after(limits.send_s):
        await stream.send_all(b"".join(part for part in parts if part))


def _text(status: int, text: str) -> Answer:
    return Answer(status=status, content_type="text/plain; charset=utf-8", body=text.encode())


class _Started:
    """Turns the listeners that `serve_listeners` reports into the plain `started()` of a service."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the listeners are known to the caller
        self._task_status.started()
