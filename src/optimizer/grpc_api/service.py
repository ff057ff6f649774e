"""The gRPC API as a service of the tree: listen, serve, and end without losing a call that was accepted."""

import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio
from grpclib.reflection.service import ServerReflection

from optimizer.bus import Latest
from optimizer.grpc_api.calls import Dispatcher, Interceptor, Route, Servable, list_routes
from optimizer.grpc_api.calls.journal import CallLog, Journal
from optimizer.grpc_api.health import CHECK, WATCH, Health, Standing
from optimizer.grpc_api.interceptors import (
    PUBLIC,
    Authenticate,
    Authentication,
    Authorization,
    Containment,
    Limiter,
    LoadLimits,
    Logging,
    Metering,
    Rules,
    Shedding,
)
from optimizer.grpc_api.transport import Limits, Port, open_listeners
from optimizer.grpc_api.watching import Watching
from optimizer.observability import Metrics
from optimizer.security import Permission

log = structlog.stdlib.get_logger(__name__)
Listen = Callable[[str, int], Awaitable[Sequence[trio.SocketListener]]]
_REFLECTION = frozenset(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may call what, how often, and for how long. Callables are asked anew for each call, so that they reload live.

    `rules` names for every method of the services the permission that it needs, or `PUBLIC`. `clock` tells seconds
    since 1970.
    """

    authenticate: Authenticate
    rules: Rules
    clock: Callable[[], float]
    limiter: Callable[[], Limiter] | None = None
    per_user: Callable[[], bool] = lambda: True
    timeout_s: Callable[[], float] = lambda: 30.0
    limits: Limits = field(default_factory=Limits)
    load: LoadLimits = field(default_factory=LoadLimits)
    reflection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Where the server tells what happens in it. Without a `journal` calls are counted and not listed."""

    metrics: Metrics
    journal: CallLog | None = None
    rng: random.Random = field(default_factory=random.Random)


async def run(
    services: Sequence[Servable],
    policy: Policy,
    telling: Telling,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    ready: Callable[[], bool],
    changes: Latest[int],
    leave: Callable[[], Awaitable[object]],
    grace_s: float,
    on_drain: Callable[[], None] | None = None,
    bound: Callable[[str], None] | None = None,
    listen: Listen = open_listeners,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `leave` returns, then drain within `grace_s`.

    grpc.health.v1 says SERVING while `ready()` holds; it is asked again whenever `changes` changes. The drain: health
    NOT_SERVING, `on_drain` (to end subscriptions), two-phase GOAWAY, calls finish or get UNAVAILABLE with RetryInfo.
    The port accepts until the drain begins, so a lame-duck time is the time between `ready` turning false and `leave`.

    Raises:
        ConfigurationError: a method without an access rule.
        OSError: the address cannot be bound.
    """
    standing = Standing(_names(services))
    journal = None if telling.journal is None else Journal(telling.journal, policy.clock)
    dispatcher = make_dispatcher(services, policy, telling, standing, journal)
    door = Port(
        dispatcher.serve, limits=policy.limits, tls=tls, watcher=Watching(telling.metrics), rand=telling.rng.random
    )
    listeners = await listen(host, port)
    async with trio.open_nursery() as nursery:
        if journal is not None:
            await nursery.start(journal.run)
        nursery.start_soon(_follow, standing, ready, changes)
        async with trio.open_nursery() as serving:
            serving.start_soon(door.serve, listeners)
            if bound is not None:
                bound(_url(listeners[0], tls))
            task_status.started()
            await leave()
            standing.stop()
            await trio.lowlevel.checkpoint()
            log.info("gRPC drains", connections=len(door.connections), calls=door.open_calls)
            if on_drain is not None:
                on_drain()
            door.accepting.cancel()
            await door.drain(grace_s)
        nursery.cancel_scope.cancel()


def make_dispatcher(
    services: Sequence[Servable], policy: Policy, telling: Telling, standing: Standing, journal: Journal | None
) -> Dispatcher:
    """The services, health and reflection inside every interceptor. Raises ConfigurationError without a rule."""
    offered: list[Servable] = [*services, Health(standing)]
    rules: dict[str, Permission | None] = {**policy.rules, CHECK: PUBLIC, WATCH: PUBLIC}
    if policy.reflection:
        offered = list(ServerReflection.extend(offered))
        rules |= dict.fromkeys(_REFLECTION, PUBLIC)
    routes = list_routes(offered)
    authorization = Authorization(rules)
    authorization.check_complete(routes)
    return Dispatcher(routes, _chain(policy, telling, journal, authorization, rules))


def _chain(
    policy: Policy, telling: Telling, journal: Journal | None, authorization: Authorization, rules: Rules
) -> list[Interceptor]:
    """The interceptors, outermost first."""
    return [
        Containment(policy.timeout_s),
        Logging(journal, telling.rng),
        Metering(telling.metrics),
        Shedding(policy.load, exempt=frozenset({CHECK, WATCH})),
        Authentication(
            policy.authenticate, rules, clock=policy.clock, limiter=policy.limiter, per_user=policy.per_user
        ),
        authorization,
    ]


async def _follow(standing: Standing, ready: Callable[[], bool], changes: Latest[int]) -> None:
    """Keep the standing true."""
    version = changes.version
    while True:
        standing.set(ready())
        _, version = await changes.wait_beyond(version)


def _names(services: Sequence[Servable]) -> list[str]:
    routes: list[Route] = list_routes(services)
    return list(dict.fromkeys(route.service for route in routes))


def _url(listener: trio.SocketListener, tls: ssl.SSLContext | None) -> str:
    name = listener.socket.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'grpc' if tls is None else 'grpcs'}://{host}:{name[1]}"
