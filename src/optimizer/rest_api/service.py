"""The REST API as a service of the tree."""

from collections.abc import Awaitable, Callable
from ssl import SSLContext

import structlog
import trio
from hypercorn.typing import ASGIFramework

from optimizer.rest_api.app import Deps, make_app
from optimizer.rest_api.server import Doorman, Listening, ListenSocket, listen_socket, serve, settings_of

log = structlog.get_logger(__name__)


async def run(
    deps: Deps,
    *,
    host: str,
    port: int,
    tls: SSLContext | None,
    doorman: Doorman,
    leave: Callable[[], Awaitable[None]],
    grace_s: float,
    bound: Callable[[str], None],
    listen: ListenSocket = listen_socket,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `leave` returns; then requests in flight finish within `grace_s`. `bound` is told where it listens.

    Raises OSError when the address cannot be bound.
    """
    app = make_app(deps)
    listener: Listening
    listener, address = listen(host, port)
    if tls is not None:
        listener = trio.SSLListener(listener, tls, https_compatible=True)
    async with trio.open_nursery() as background:
        app.nursery = background  # quart's place for background tasks: a child of this service, and empty
        await app.startup()
        bound(f"{'http' if tls is None else 'https'}://{_printable(address[0])}:{address[1]}")
        config = settings_of(doorman.limits)
        await serve(_framework(app), listener, doorman, config, stop=leave, grace_s=grace_s, task_status=task_status)
        await app.shutdown()


def _framework(app: object) -> ASGIFramework:
    """The application as hypercorn's type: QuartTrio is an ASGI application, but says so with other names."""
    return app  # type: ignore[return-value]  # quart and hypercorn describe the same ASGI calls with different types


def _printable(host: str) -> str:
    return f"[{host}]" if ":" in host else host
