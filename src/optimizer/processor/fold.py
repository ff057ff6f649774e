"""The fold's task: reads the log, keeps the state, adopts policies, writes snapshots."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog
import trio

from optimizer.bus import Latest, News
from optimizer.core import records
from optimizer.core.fold import Call, Changes, State, names_of, snapshot
from optimizer.model import Listing, Policy, StorageUnavailable
from optimizer.processor.decider import Decider
from optimizer.processor.planner import Planner
from optimizer.processor.progress import Progress
from optimizer.storage import Cursor, Delete, Put, Store
from optimizer.storage.protocols import Entry

CURSOR = "fold"
BATCH = 2_000  # entries read at once: a few hundred KB
CHUNK = 100  # entries folded between two checkpoints: about 2 ms
TICK_S = 0.25  # how often time-driven work is looked at while the log is quiet
SNAPSHOT_S = 5.0  # a crash replays at most about this much
SNAPSHOT_EVENTS = 50_000
SNAPSHOT_CALLS = 20_000  # index entries held in memory until they are written: about 10 MB
RETRY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fold:
    """What the fold's task owns. Everybody else reads."""

    store: Store
    state: State
    planner: Planner
    decider: Decider
    listings: Latest[dict[str, Listing]]
    progress: Progress
    news: News
    clock: Callable[[], float]
    since_snapshot: int = 0
    snapshot_at: float = 0.0


async def open_state(store: Store) -> State:
    """The state as of its last snapshot."""
    cursor = await store.cursor(CURSOR)
    services = await _bodies(store, snapshot.SERVICES)
    segments = await _bodies(store, snapshot.SEGMENTS)
    orphans = await store.get(snapshot.ORPHANS)
    rollouts = [body for _, body in await _bodies(store, snapshot.ROLLOUTS)]
    ledgers = [body for _, body in await _bodies(store, snapshot.LEDGER)]
    waiting = None if orphans is None else orphans.body
    return snapshot.restore(cursor, services, segments, waiting, rollouts, ledgers)


async def _bodies(store: Store, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    after = ""
    while page := await store.scan(prefix, after=after):
        found += [(d.key, d.body) for d in page]
        after = page[-1].key
    return found


async def run_fold(fold: Fold, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Fold the log for ever; started once everything that was in the log at the beginning is folded.

    Storage that is away is waited for; the answers given meanwhile are from the last policies.
    """
    caught_up = await fold.store.end()
    started = False
    publish(fold, fold.state.services)
    while True:
        try:
            await _step(fold)
        except StorageUnavailable as error:
            log.warning("the fold waits for storage", cursor=fold.state.cursor, error=str(error))
            await trio.sleep(RETRY_S)
        if not started and fold.state.cursor >= caught_up:
            started = True
            task_status.started()


async def _step(fold: Fold) -> None:
    """One batch: read, apply, plan, snapshot when due; waits a tick when there is nothing."""
    entries = await fold.store.read(fold.state.cursor, BATCH)
    calls = await _known_calls(fold.store, entries)
    for start in range(0, len(entries), CHUNK):
        apply_chunk(fold, entries[start : start + CHUNK], calls)
        await trio.lowlevel.checkpoint()
    planned = fold.planner.plan(fold.state, fold.clock())
    if planned:
        await fold.store.append(planned)
    if _snapshot_due(fold):
        await write_snapshot(fold)
    if not entries and not planned:
        with trio.move_on_after(TICK_S):
            await fold.store.wait_beyond(fold.state.cursor)


def apply_chunk(fold: Fold, entries: Iterable[Entry], calls: dict[str, Call]) -> None:
    """Fold some entries and publish what came into force; runs without a checkpoint, so readers see whole chunks."""
    changed: set[str] = set()
    for entry in entries:
        outcome = fold.state.apply(entry.offset, entry.kind, entry.payload, calls)
        fold.since_snapshot += 1
        if isinstance(outcome, Policy):
            service = fold.state.services[outcome.service]
            if outcome.cursor >= service.revision:  # one computed before a new declaration is already out of date
                fold.decider.adopt(service.declaration, outcome)
        elif outcome is not None:
            changed.add(outcome)
    if changed:
        publish(fold, changed)
    told, fold.state.rollouts.told = fold.state.rollouts.told, []
    for notice in told:
        with suppress(trio.ClosedResourceError):  # the process stops: nobody listens any more
            fold.news.rollouts.publish_nowait(notice)
    fold.progress.set(fold.state.cursor)


def publish(fold: Fold, names: Iterable[str]) -> None:
    """Tell the intake and the decider about declared and withdrawn services."""
    listings = dict(fold.listings.get())
    for name in list(names):
        state = fold.state.services.get(name)
        if state is None:
            listings.pop(name, None)
            fold.decider.withdraw(name)
            continue
        listings[name] = Listing(state.declaration, state.ever())
        if state.policy is not None and state.policy.cursor >= state.revision:
            fold.decider.adopt(state.declaration, state.policy)
    fold.listings.set(listings)


async def _known_calls(store: Store, entries: Iterable[Entry]) -> dict[str, Call]:
    """The index entries of the calls that the scores of this batch name."""
    names = {n for e in entries if e.kind == records.SCORE for n in names_of(records.decode_score(e.payload))}
    found: dict[str, Call] = {}
    for name in sorted(names):
        document = await store.get(snapshot.CALLS + name)
        if document is not None:
            found[name] = snapshot.decode_call(document.body)
    return found


def _snapshot_due(fold: Fold) -> bool:
    if fold.since_snapshot == 0:
        return False
    return (
        fold.since_snapshot >= SNAPSHOT_EVENTS
        or len(fold.state.changes.calls) >= SNAPSHOT_CALLS
        or fold.clock() - fold.snapshot_at >= SNAPSHOT_S
    )


async def write_snapshot(fold: Fold) -> None:
    """Write what changed and the cursor in one transaction. On failure everything is kept for the next attempt."""
    changes = fold.state.changes
    puts: list[Put | Delete] = [
        Delete(key=key) if body is None else Put(key=key, body=body)
        for key, body in snapshot.documents(fold.state, changes)
    ]
    await fold.store.commit(puts, Cursor(name=CURSOR, offset=fold.state.cursor))
    fold.state.changes = Changes()
    fold.state.rollouts.changed.clear()
    fold.since_snapshot = 0
    fold.snapshot_at = fold.clock()
