"""The processor as a service of the tree: the fold, the planner, the decider, and what the front doors use of them."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from optimizer.bus import Latest, News, Slot
from optimizer.core.records import Exposure
from optimizer.model import Listing, StorageUnavailable
from optimizer.processor.administration import Flags
from optimizer.processor.alerts import Alerts
from optimizer.processor.chronicle import Chronicle, open_chronicle
from optimizer.processor.decider import Decider
from optimizer.processor.decisions import DecisionLoop, LoopSettings
from optimizer.processor.deployments import Deployments, Gatekeeper
from optimizer.processor.exposures import PENDING, ExposureLog
from optimizer.processor.fold import Fold, open_state, run_fold, write_snapshot
from optimizer.processor.offices import make_id
from optimizer.processor.optimizations import Optimizations, Terms
from optimizer.processor.planner import Planner
from optimizer.processor.progress import Progress
from optimizer.processor.registry import Registry
from optimizer.processor.rollouts import RolloutDesk
from optimizer.processor.watcher import Watcher, open_watcher
from optimizer.processor.windows import Windows, open_windows
from optimizer.storage import Store

FINISH_S = (
    5.0  # for the last exposures and the last snapshot; what does not fit is replayed from the log at the next start
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Processor:
    """What the front doors use."""

    decider: Decider
    registry: Registry
    progress: Progress
    chronicle: Chronicle
    rollouts: RolloutDesk
    watcher: Watcher
    alerts: Alerts
    windows: Windows
    optimizations: Optimizations
    deployments: Deployments


async def run(
    backend: Store,
    listings: Latest[dict[str, Listing]],
    processor: Slot[Processor],
    *,
    keys: tuple[bytes, ...],
    now: Callable[[], int],
    nonce: Callable[[], bytes],
    stopwatch: Callable[[], float],
    news: News,
    window_s: int = 300,
    terms: Terms | None = None,
    loop: Callable[[], LoopSettings] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Started when everything in the log is folded. When cancelled: last exposures, last snapshot, each bounded.

    `now` is microseconds since 1970, `stopwatch` seconds that measure what computing a policy costs, `window_s` is how
    long windows over calls are, `terms` bound the rollouts of deployments, `loop` are the decision loop's settings now
    (None: there is no loop).
    """
    send, inbox = trio.open_memory_channel[tuple[str, Exposure]](PENDING)
    decider = Decider(keys[0], now=now, nonce=nonce, exposures=send)
    state = await open_state(backend)
    progress = Progress(state.cursor)
    fold = Fold(backend, state, Planner(now, stopwatch), decider, listings, progress, news, trio.current_time)
    chronicle = await open_chronicle(backend, news.samples)
    exposures = ExposureLog(inbox, backend)
    alerts = Alerts(backend, news.alerts)
    watcher = await open_watcher(backend, alerts)
    windows = await open_windows(backend, window_s, news.windows)
    registry = Registry(backend, state, decider, progress, keys=keys, now=now)

    def new_id() -> str:
        return make_id(now(), nonce())

    terms = terms or Terms()
    rollouts = RolloutDesk(backend, state, progress, now=now, new_id=new_id)
    optimizations = Optimizations(backend, news.optimizations, now=now, new_id=new_id)
    gatekeeper = Gatekeeper(backend, registry, rollouts, terms)
    deployments = Deployments(optimizations, registry, rollouts, gatekeeper, news, now=now, new_id=new_id, terms=terms)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exposures.run)
            await nursery.start(run_fold, fold)
            nursery.start_soon(chronicle.run)
            nursery.start_soon(watcher.run)
            nursery.start_soon(windows.run)
            nursery.start_soon(deployments.run)
            if loop is not None:
                flags = Flags(backend, news.system, now)
                nursery.start_soon(DecisionLoop(backend, state, optimizations, deployments, flags, loop, now).run)
            part = Processor(
                decider, registry, progress, chronicle, rollouts, watcher, alerts, windows, optimizations, deployments
            )
            with processor.provide(part):
                task_status.started()
                await trio.sleep_forever()
    finally:
        with trio.move_on_after(FINISH_S, shield=True):
            await finish(fold, exposures, chronicle, watcher, windows)


async def finish(fold: Fold, exposures: ExposureLog, chronicle: Chronicle, watcher: Watcher, windows: Windows) -> None:
    """Write what is still in memory. Nothing acknowledged depends on it."""
    await exposures.finish()
    try:
        if fold.since_snapshot:
            await write_snapshot(fold)
        await chronicle.write_snapshot()
        await watcher.write_snapshot()
        await windows.write()
    except StorageUnavailable as error:
        log.warning("no last snapshot; the next start replays the log", cursor=fold.state.cursor, error=str(error))
