"""The service table: the six services of the contract, what each needs, how it restarts, how much it matters."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TypedDict, Unpack

import structlog
import trio

from optimizer import processor, rest_api
from optimizer.bus import Latest, Slot
from optimizer.collector import Intake, Pricer, kafka, load_table
from optimizer.config import Settings
from optimizer.core.pricing import Prices
from optimizer.grpc_api.service import Listen
from optimizer.grpc_api.transport import open_listeners
from optimizer.model import Listing
from optimizer.nurseries.collecting import collect, judge_collector, make_status
from optimizer.nurseries.grpc import serve_grpc, serve_ports
from optimizer.nurseries.policy import Criticality, Probe, Restart, Run, ServiceSpec, Stage, Verdict
from optimizer.processor import Processor
from optimizer.processor.configured import loop_of, terms_of
from optimizer.rest_api import Access, ConnectionLimits, Deps, Doorman
from optimizer.root import Parts, make_breaker
from optimizer.root.parts import backoff_of, intensity_of
from optimizer.security import Keys, load_keys, make_authenticator, make_server_context
from optimizer.storage import SlottedStore, Store, StoreKind, guard_store, open_store

log = structlog.stdlib.get_logger(__name__)

Ask = Callable[[], Awaitable[Probe]]
RequestDone = Callable[[str, int, float], None]


class Details(TypedDict, total=False):
    """What may differ from one service to the next."""

    stage: Stage
    criticality: Criticality
    leave: trio.Event
    probe: Ask


def open_configured_store(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """The store that the settings name."""
    storage = settings.storage
    url = None if storage.postgres_url is None else storage.postgres_url.get_secret_value()
    automatic: StoreKind = "embedded" if url is None else "postgres"
    kind = automatic if storage.backend == "auto" else storage.backend
    return open_store(kind, folder=storage.embedded_dir, url=url, connections=storage.max_connections)


def make_pricer(settings: Settings) -> Pricer:
    """Prices by the own table that the settings name, then by the installed data. Raises ConfigurationError."""
    return Pricer(Prices(load_table(settings.collector.prices_path)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """How the services reach what is outside the process; a simulation hands in its own, and uses no threads."""

    open_store: Callable[[Settings], AbstractAsyncContextManager[Store]] = open_configured_store
    listen: rest_api.ListenSocket = rest_api.listen_socket
    listen_grpc: Listen = open_listeners
    make_pricer: Callable[[Settings], Pricer] = make_pricer
    threads: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the services hand to each other: slots, so that each can restart alone."""

    parts: Parts
    doors: Doors
    keys: Keys
    storage: Slot[Store] = field(default_factory=lambda: Slot("storage"))
    intake: Slot[Intake] = field(default_factory=lambda: Slot("collector"))
    processor: Slot[Processor] = field(default_factory=lambda: Slot("processor"))
    listings: Latest[dict[str, Listing]] = field(default_factory=lambda: Latest({}))
    doorman: Doorman
    kafka: kafka.Status

    @property
    def settings(self) -> Settings:
        """The settings in force now."""
        return self.parts.settings.get()


def declare_services(parts: Parts, doors: Doors | None = None) -> Sequence[ServiceSpec]:
    """The real services of this process, in their declared order. Raises ConfigurationError for unusable keys."""
    settings = parts.settings.get()
    shared = Shared(
        parts=parts,
        doors=doors or Doors(),
        keys=load_keys(settings),
        doorman=Doorman(limits_of(settings)),
        kafka=make_status(parts),
    )
    parts.topics.queues["intake"] = lambda: door.pending if (door := shared.intake.peek()) is not None else 0

    def spec(name: str, run: Run, *needs: str, **details: Unpack[Details]) -> ServiceSpec:
        return ServiceSpec(
            name=name,
            run=run,
            needs=needs,
            restart=Restart.TRANSIENT,
            backoff=backoff_of(settings.supervision),
            intensity=intensity_of(settings.supervision),
            **details,
        )

    edge: Details = {"stage": Stage.EDGE, "leave": parts.stop.draining}
    store: Details = {"stage": Stage.STORE, "criticality": Criticality.FALL, "probe": probe_storage(shared)}
    return [
        spec("storage", run_storage(shared), **store),
        spec("collector", run_collector(shared), probe=probe_collector(shared)),
        spec("integrations", idle(parts, "integrations")),
        spec("processor", run_processor(shared), "collector", "storage", probe=probe_processor(shared)),
        spec("rest_api", run_rest(shared), "processor", "storage", **edge),
        spec("grpc_api", run_grpc(shared), "processor", "storage", **edge),
    ]


def run_storage(shared: Shared) -> Run:
    """The store, open while the service runs."""

    make = partial(make_breaker, shared.parts.metrics)

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        async with shared.doors.open_store(shared.settings) as store:
            with shared.storage.provide(await guard_store(store, make)):
                task_status.started()
                await trio.sleep_forever()

    return run


def run_collector(shared: Shared) -> Run:
    """The intake and what consumes for it."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await collect(
            shared.parts,
            SlottedStore(shared.storage),
            shared.listings.get,
            shared.intake,
            keys=shared.keys.assignment,
            pricer=shared.doors.make_pricer(shared.settings),
            status=shared.kafka,
            folded=shared.processor.ready,
            threads=shared.doors.threads,
            task_status=task_status,
        )

    return run


def run_processor(shared: Shared) -> Run:
    """The fold and what hangs on it."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        around = shared.parts.around
        await processor.run(
            SlottedStore(shared.storage),
            shared.listings,
            shared.processor,
            keys=shared.keys.assignment,
            now=around.now,
            nonce=around.nonce,
            stopwatch=around.stopwatch,
            news=shared.parts.news,
            window_s=shared.settings.processor.window_size_secs,
            terms=terms_of(shared.settings),
            loop=lambda: loop_of(shared.settings),
            task_status=task_status,
        )

    return run


def run_rest(shared: Shared) -> Run:
    """The JSON front door."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        parts, settings = shared.parts, shared.settings
        told = settings.rest_api
        authenticator = make_authenticator(settings, shared.keys)
        deps = Deps(
            processor=shared.processor,
            intake=shared.intake,
            access=Access(authenticator.authenticate, lambda: parts.around.now() / 1e6),
            health=parts.board,
            request_done=record_request(parts),
            largest_body=settings.limits.body_bytes,
            timeout_s=told.timeout_secs,
        )

        async def serve(port: int, words: str, *, task_status: trio.TaskStatus[None]) -> None:
            await rest_api.run(
                deps,
                host=settings.service.host,
                port=port,
                tls=make_server_context(told, "rest_api", ["h2", "http/1.1"]) if told.enable_tls else None,
                doorman=shared.doorman,
                leave=parts.stop.draining.wait,
                grace_s=max(settings.supervision.grace_edges_s - parts.stop.grace.unwind_s, 0),
                bound=lambda url: log.info(words, url=url),
                listen=shared.doors.listen,
                task_status=task_status,
            )

        await serve_ports(
            serve, (told.port, "REST API listens"), (settings.collector.otlp_http_port, "OTLP over HTTP listens"),
            task_status=task_status,
        )  # fmt: skip

    return run


def run_grpc(shared: Shared) -> Run:
    """The gRPC front door."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_grpc(
            shared.parts,
            SlottedStore(shared.storage),
            shared.processor,
            shared.intake,
            shared.keys,
            shared.doors.listen_grpc,
            task_status=task_status,
        )

    return (
        run if shared.settings.grpc_api.enabled else idle(shared.parts, "grpc_api", "switched off by grpc_api.enabled")
    )


def probe_storage(shared: Shared) -> Ask:
    """Degraded while the store cannot write: restarting it would not make room on the disk."""

    async def probe() -> Probe:
        health = await shared.storage.get().health()
        verdict = Verdict.HEALTHY if health.writable else Verdict.DEGRADED
        return Probe(verdict=verdict, message=health.message, metadata={"mode": health.mode, **(health.details or {})})

    return probe


def probe_collector(shared: Shared) -> Ask:
    """Degraded while Kafka, when it is configured, cannot be consumed."""

    async def probe() -> Probe:
        await trio.lowlevel.checkpoint()
        return judge_collector(shared.parts, shared.kafka)

    return probe


def probe_processor(shared: Shared) -> Ask:
    """How far the fold is behind the log."""

    async def probe() -> Probe:
        part = shared.processor.get()
        folded, end = part.progress.get(), await SlottedStore(shared.storage).end()
        return Probe(metadata={"folded": str(folded), "log_end": str(end), "decisions": str(part.decider.decisions)})

    return probe


def record_request(parts: Parts) -> RequestDone:
    """Count a finished request under its operation and status."""

    def done(operation: str, status: int, seconds: float) -> None:
        labels = (operation, str(status))
        parts.metrics.requests_total.labels(*labels).inc()
        parts.metrics.request_duration_seconds.labels(*labels).observe(seconds)

    return done


def limits_of(settings: Settings) -> ConnectionLimits:
    """Connection bounds; a waiting client may be silent for as long as its request may take."""
    limit = settings.limits.connections
    return ConnectionLimits(connections=limit, per_address=limit, read=int(settings.rest_api.timeout_secs) + 10)


def idle(parts: Parts, name: str, why: str = "this version has nothing to do here yet") -> Run:
    """A service that has nothing to do, and says so in health."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        parts.board.say(name, message=why)
        await trio.sleep_forever()

    return run
