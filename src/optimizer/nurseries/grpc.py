"""The gRPC API wired to the rest of the process."""

from functools import partial
from typing import Protocol

import structlog
import trio

from optimizer.bus import Slot
from optimizer.collector import Intake
from optimizer.config import Settings
from optimizer.grpc_api.assembly import make_services
from optimizer.grpc_api.interceptors import LoadLimits
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.rules import RULES
from optimizer.grpc_api.service import Listen, Policy, Telling, run
from optimizer.grpc_api.streams.subscriptions import Subscriptions
from optimizer.grpc_api.transport import Limits
from optimizer.processor import Processor
from optimizer.processor.offices import make_offices
from optimizer.root import Parts
from optimizer.security import Keys, RateLimit, make_authenticator, make_server_context
from optimizer.storage import Store

log = structlog.get_logger(__name__)


async def serve_grpc(
    parts: Parts,
    store: Store,
    processor: Slot[Processor],
    intake: Slot[Intake],
    keys: Keys,
    listen: Listen,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve every gRPC service until the process drains. Raises OSError when the address cannot be bound."""
    around, settings = parts.around, parts.settings.get()
    told = settings.grpc_api
    subscriptions = Subscriptions(most=settings.limits.subscribers, buffer=settings.limits.subscriber_buffer)
    rooms = Rooms(
        store=store,
        processor=processor,
        intake=intake,
        offices=make_offices(store, parts.news, now=around.now, nonce=around.nonce),
        news=parts.news,
        board=parts.board,
        settings=parts.settings,
        operations=parts.operator,
        subscriptions=subscriptions,
        now=around.now,
        connections=lambda: count_connections(parts),
        started_at=around.now(),
    )
    services = make_services(rooms)

    async def serve(port: int, words: str, *, task_status: trio.TaskStatus[None]) -> None:
        await run(
            services,
            make_policy(parts, keys),
            Telling(metrics=parts.metrics, journal=around.logging, rng=around.rng),
            host=settings.service.host,
            port=port,
            tls=make_server_context(told, "grpc_api", ["h2"]),
            ready=parts.board.ready,
            changes=parts.board.changes,
            leave=parts.stop.draining.wait,
            grace_s=max(settings.supervision.grace_edges_s - parts.stop.grace.unwind_s, 0),
            on_drain=subscriptions.close,
            bound=lambda url: log.info(words, url=url),
            listen=listen,
            task_status=task_status,
        )

    await serve_ports(
        serve, (told.port, "gRPC API listens"), (settings.collector.otlp_grpc_port, "OTLP over gRPC listens"),
        task_status=task_status,
    )  # fmt: skip


class ServePort(Protocol):
    """Serves one port; the words are logged with its address."""

    async def __call__(self, port: int, words: str, *, task_status: trio.TaskStatus[None]) -> None: ...


async def serve_ports(serve: ServePort, *ports: tuple[int | None, str], task_status: trio.TaskStatus[None]) -> None:
    """Serve the ports that are set, the same on each; started when all of them listen, over when all have drained."""
    (first, name), *others = [(port, words) for port, words in ports if port is not None]
    if not others:
        await serve(first, name, task_status=task_status)
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, first, name))
        for port, words in others:
            await nursery.start(partial(serve, port, words))
        task_status.started()


def make_policy(parts: Parts, keys: Keys) -> Policy:
    """Who may call, and within which limits; rates and the deadline follow a reload."""
    settings = parts.settings.get()
    limits = LiveRate(parts)
    return Policy(
        authenticate=make_authenticator(settings, keys).authenticate,
        rules=RULES,
        clock=lambda: parts.around.now() / 1e6,
        limiter=limits.get,
        per_user=lambda: parts.settings.get().grpc_api.per_user,
        timeout_s=lambda: parts.settings.get().grpc_api.timeout_secs,
        limits=Limits(
            connections=settings.grpc_api.max_concurrent_connections,
            streams=settings.grpc_api.max_concurrent_streams,
            header_list=settings.limits.header_bytes,
            message=settings.limits.body_bytes,
        ),
        load=LoadLimits(),
        reflection=settings.grpc_api.enable_reflection,
    )


class LiveRate:
    """The rate limit as the settings have it now; callers start afresh when it changes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._key = (0.0, 0, 0)
        self._limit = RateLimit(0.0, 1, 1)

    def get(self) -> RateLimit:
        """The limit in force."""
        settings: Settings = self._parts.settings.get()
        told = settings.grpc_api
        key = (told.requests_per_second, told.burst_size, settings.limits.rate_limit_callers)
        if key != self._key:
            self._key, self._limit = key, RateLimit(*key)
        return self._limit


def count_connections(parts: Parts) -> int:
    """The open connections of every front door."""
    return round(sum(s.value for metric in parts.metrics.active_connections.collect() for s in metric.samples))
