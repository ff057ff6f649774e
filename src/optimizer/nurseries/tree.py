"""The process on one page: what runs, inside what, and how it ends.

root: signals, deadlines, reload, watchdogs; resource sampling, operator's endpoint, health probes
└─ storage
   └─ collector
      └─ integrations
         └─ processor         ← collector, storage
            └─ rest_api       ← processor, storage
               └─ grpc_api    ← processor, storage

The services are an argument (`services.py` declares the real ones); their nesting follows from what each needs.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import structlog
import trio

from optimizer.config import Settings
from optimizer.model import ConfigurationError
from optimizer.nurseries.layers import House, StartFailed, StopRequested, open_layer, open_layers, order
from optimizer.nurseries.policy import ServiceSpec
from optimizer.nurseries.supervisor import RestartLimitExceeded
from optimizer.nurseries.watchdog import HARD_LIMIT_EXIT, Watchdog
from optimizer.root import Declare, Parts, Surroundings, Teller, make_parts
from optimizer.root.tasks import answer_operators, probe, sample, start_guards

log = structlog.stdlib.get_logger(__name__)


class Exit(IntEnum):
    """The exit codes of the server process (those above 63 near the sense of sysexits.h)."""

    CLEAN = 0
    FELL = 1  # a service that the process cannot do without crashed too often, or a bug got through
    START_FAILED = 69
    HARD_LIMIT = HARD_LIMIT_EXIT
    UNSTOPPED = 71  # everything ended, but something not in its share of the grace time
    BAD_CONFIGURATION = 78


async def serve(
    settings: Settings,
    declare: Declare,
    around: Surroundings,
    *,
    task_status: trio.TaskStatus[Parts] = trio.TASK_STATUS_IGNORED,
) -> Exit:
    """Run the whole server until it was told to stop, and say how that went.

    `task_status.started` hands over the shared parts once every service serves.
    Cancellation: everything stops in the exact reverse of the start order, undrained.
    """
    parts = make_parts(settings, around)
    teller = Teller(parts.board, parts.metrics)
    exit_code = Exit.CLEAN
    teller.start_step(6, "service tree created")
    try:
        specs = order(declare(parts))
        parts.board.declare(specs)
        teller.start_step(7, "services registered", order=[spec.name for spec in specs])
        house = House(stop=parts.stop, observe=teller.observe, rng=around.rng)
        try:
            await run_tree(specs, parts, house, teller, task_status)
        finally:
            exit_code = Exit.UNSTOPPED if house.unstopped else exit_code
            teller.stop_step(5, "final health report", **parts.board.report())
    except* StopRequested:
        log.info("stopped while starting")
    except* StartFailed as group:
        exit_code = Exit.START_FAILED
        _say_why("a service could not be started", group)
    except* ConfigurationError as group:
        exit_code = Exit.BAD_CONFIGURATION
        _say_why("the configuration does not work", group)
    except* RestartLimitExceeded as group:
        exit_code = Exit.FELL
        _say_why("the process cannot go on", group)
    except* Exception as group:
        # A bug of the tree itself. Everything has stopped in order by now; whoever supervises the process restarts it.
        exit_code = Exit.FELL
        log.exception("the server failed", exc_info=group)
    teller.stop_step(6, "exit", code=int(exit_code), meaning=exit_code.name.lower())
    return exit_code


async def run_tree(
    specs: Sequence[ServiceSpec],
    parts: Parts,
    house: House,
    teller: Teller,
    task_status: trio.TaskStatus[Parts],
) -> None:
    """Root layer, service layers, main event loop: start in this order, stop in the reverse."""
    async with open_layer(house) as root:
        await start_guards(root, parts, house, teller)
        async with open_layers(specs, house):
            teller.start_step(8, "services started")
            await root.start(sample(parts))
            teller.start_step(9, "resource monitoring started")
            await root.start(answer_operators(parts, teller))
            teller.start_step(10, "metrics endpoint started")
            await root.start(probe(specs, parts, house))
            teller.start_step(11, "health monitoring started")
            parts.board.open()
            if parts.around.manager is not None:
                parts.around.manager.ready()
            teller.start_step(12, "ready, waiting for signals")
            task_status.started(parts)
            await parts.stop.draining.wait()
            teller.stop_step(3, "draining, services stop in reverse order")
        teller.stop_step(4, "services stopped", unstopped=[report.service for report in house.unstopped])


@contextmanager
def calm_collector() -> Iterator[None]:
    """Have Python look for reference cycles less often while the block runs, and never among what the imports made.

    Calls free their objects by reference count; with the interpreter's default of 700 allocations the search for cycles
    took a quarter of the time of a small gRPC call (measured on Python 3.11).
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_server(settings: Settings, declare: Declare, around: Surroundings) -> Exit:
    """Run `serve` to its end under the watchdog. Logging is the caller's, and has to be open around this call."""
    limit = settings.supervision.hard_limit_s
    with calm_collector(), Watchdog(limit_s=limit) as watchdog:
        return trio.run(serve, settings, declare, around.watched_by(watchdog), strict_exception_groups=True)


def _say_why(what: str, group: BaseExceptionGroup[BaseException]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _say_why(what, error)
            continue
        cause = error.__cause__
        log.error(what, error=str(error), cause=None if cause is None else f"{type(cause).__name__}: {cause}")
