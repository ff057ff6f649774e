"""The tasks of the root: they watch over everything else, from before the first service until after the last."""

import json
from collections.abc import Mapping, Sequence

import structlog
import trio

from optimizer.nurseries.health import run_probes
from optimizer.nurseries.layers import House, Layer
from optimizer.nurseries.policy import Criticality, Run, ServiceSpec, Stage
from optimizer.nurseries.stop import watch_signals
from optimizer.observability import Answer, Route, port_of, sample_resources, serve_endpoint
from optimizer.observability.metrics import CONTENT_TYPE
from optimizer.root.notices import tell
from optimizer.root.parts import Parts
from optimizer.root.telling import Teller

log = structlog.stdlib.get_logger(__name__)


async def start_guards(root: Layer, parts: Parts, house: House, teller: Teller) -> None:
    """Signals, deadlines of the stop, reload, watchdogs: needed before the first service starts."""
    around = parts.around
    parts.stop.on_request(lambda: _begin_stop(parts, teller))

    async def run_signals(*, task_status: trio.TaskStatus[None]) -> None:
        await watch_signals(parts.stop, reload=parts.reloader.request, task_status=task_status)

    async def run_limit(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await parts.stop.run_limit()
        await trio.sleep_forever()

    async def run_notices(*, task_status: trio.TaskStatus[None]) -> None:
        await tell(parts.board, parts.settings, parts.news.system, around.now, task_status=task_status)

    async def run_deadlines(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await parts.stop.run_lame_duck()
        await trio.sleep_until(parts.stop.after(parts.stop.grace.tree_s))
        log.error("the grace time is over: everything is cancelled", after_s=parts.stop.grace.tree_s)
        house.cancel_everything()
        await trio.sleep_forever()

    if around.signals:
        await root.start(root_task("signals", run_signals, criticality=Criticality.FALL))
    await root.start(root_task("deadlines", run_deadlines, criticality=Criticality.FALL))
    await root.start(root_task("limit", run_limit, criticality=Criticality.FALL))
    await root.start(root_task("notices", run_notices))
    await root.start(root_task("reload", parts.reloader.run))
    if around.watchdog is not None:
        await root.start(root_task("watchdog", around.watchdog.run))
    if around.manager is not None:
        await root.start(root_task("service_manager", around.manager.run))


def root_task(name: str, run: Run, *, criticality: Criticality = Criticality.DEGRADE) -> ServiceSpec:
    """A task of the root, declared: it is supervised like every service, and ends last."""
    return ServiceSpec(name=name, run=run, stage=Stage.ROOT, criticality=criticality)


def sample(parts: Parts) -> ServiceSpec:
    """CPU, memory, descriptors and threads into the metrics."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        interval = parts.settings.get().observability.resource_interval_s
        if interval:
            await sample_resources(parts.metrics, interval_s=interval, task_status=task_status)
        task_status.started()
        await trio.sleep_forever()

    return root_task("resources", run)


def answer_operators(parts: Parts, teller: Teller) -> ServiceSpec:
    """The endpoint with /metrics and /health on a port of its own."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        told = parts.settings.get()
        host = told.observability.metrics_host or told.service.host
        listeners = await parts.around.listen(host, told.observability.metrics_port)
        port = port_of(listeners[0])
        if port is not None and parts.around.on_port is not None:
            parts.around.on_port("metrics", port)
        log.info("operator's endpoint listens", host=host, port=port)
        await serve_endpoint(listeners, make_routes(parts, teller), task_status=task_status)

    return root_task("endpoint", run)


def probe(specs: Sequence[ServiceSpec], parts: Parts, house: House) -> ServiceSpec:
    """Asks each service that has a probe for its health, and restarts it when that fails too often."""
    probes = {spec.name: spec.probe for spec in specs if spec.probe is not None}

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        supervision = parts.settings.get().supervision
        await run_probes(
            probes,
            parts.board,
            house.supervisors,
            interval_s=supervision.check_interval_s,
            recover=supervision.auto_recovery,
            task_status=task_status,
        )

    return root_task("health", run)


def make_routes(parts: Parts, teller: Teller) -> Mapping[str, Route]:
    """The routes of the operator's endpoint."""

    def metrics() -> Answer:
        writer = None if parts.around.logging is None else parts.around.logging.sink
        teller.refresh(parts.topics, log_lines_dropped=getattr(writer, "dropped", 0))
        return Answer(status=200, content_type=CONTENT_TYPE, body=parts.metrics.expose())

    def health() -> Answer:
        return _json(503 if parts.board.status() == "unhealthy" else 200, parts.board.report())

    def live() -> Answer:
        return _json(200, {"status": "alive"})  # that it answers is the proof; dependencies do not matter here

    def ready() -> Answer:
        yes = parts.board.ready()
        return _json(200 if yes else 503, {"ready": yes, "status": parts.board.status()})

    return {"/metrics": metrics, "/health": health, "/health/live": live, "/health/ready": ready, "/ready": ready}


def _begin_stop(parts: Parts, teller: Teller) -> None:
    parts.board.close()
    if parts.around.watchdog is not None:
        parts.around.watchdog.arm()
    if parts.around.manager is not None:
        parts.around.manager.stopping(str(parts.stop.reason))
    teller.stop_step(1, "stop requested", reason=parts.stop.reason)
    teller.stop_step(2, "shutdown begun", hard_limit_s=parts.stop.grace.hard_s)


def _json(status: int, value: object) -> Answer:
    return Answer(status=status, content_type="application/json", body=json.dumps(value).encode() + b"\n")
