"""The watcher's task: folds the log through the detectors, beside the decision's own fold, and raises alerts."""

import structlog
import trio

from optimizer.core.watching import PREFIX, Seen, Watch, restore_watch
from optimizer.model import Alert, StorageUnavailable
from optimizer.processor.alerts import Alerts
from optimizer.processor.progress import Progress
from optimizer.storage import Cursor, Delete, Put, Store

CURSOR = "watch"
BATCH = 1_000
CHUNK = 50  # entries between two checkpoints: one to two milliseconds
TICK_S = 0.5  # how long a quiet log is waited for before the snapshot is looked at
SNAPSHOT_S = 30.0
SNAPSHOT_ENTRIES = 100_000
SNAPSHOT_DOCUMENTS = 200  # in one transaction: a stream is up to about 30 KB
CATCH_UP_S = 5.0  # how long a question waits; the answer is then from what is folded
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Watcher:
    """The detectors, kept up to date with the log. An alert is kept before the cursor passes what raised it."""

    def __init__(self, store: Store, watch: Watch, alerts: Alerts) -> None:
        self._store = store
        self._watch = watch
        self._alerts = alerts
        self._progress = Progress(watch.cursor)
        self._raised: list[Alert] = []
        self._snapshot_cursor = watch.cursor
        self._snapshot_at = trio.current_time()

    async def fresh(self) -> None:
        """Return when everything that is in the log now has been watched, or after `CATCH_UP_S`."""
        with trio.move_on_after(CATCH_UP_S):
            await self._progress.reach(await self._store.end())

    def seen(self, metric: str) -> Seen | None:
        """How many samples of the metric were judged, None when there was none."""
        return self._watch.seen.get(metric)

    async def run(self) -> None:
        """Watch for ever. Storage that is away is waited for."""
        while True:
            try:
                if not await self._step():
                    with trio.move_on_after(TICK_S):
                        await self._store.wait_beyond(self._watch.cursor)
                if self._snapshot_due():
                    await self.write_snapshot()
            except StorageUnavailable as error:
                log.warning("the watcher waits for storage", cursor=self._watch.cursor, error=str(error))
                await trio.sleep(RETRY_S)

    async def write_snapshot(self) -> None:
        """Write what changed, the cursor last. Cut off half-way, the next start replays from the old cursor.

        A detector that is newer than the cursor sees some records twice then; alerts keep their ids, and no count that
        is acknowledged to anybody depends on it. Everything is one transaction unless very much changed.
        """
        if self._watch.cursor == self._snapshot_cursor or self._raised:
            return
        offset = self._watch.cursor
        changes: list[Put | Delete] = [
            Delete(key=key) if body is None else Put(key=key, body=body) for key, body in self._watch.documents()
        ]
        while len(changes) > SNAPSHOT_DOCUMENTS:
            await self._store.commit(changes[:SNAPSHOT_DOCUMENTS])
            del changes[:SNAPSHOT_DOCUMENTS]
        await self._store.commit(changes, Cursor(name=CURSOR, offset=offset))
        self._watch.changes.clear()
        self._snapshot_cursor, self._snapshot_at = offset, trio.current_time()

    async def _step(self) -> bool:
        await self._tell()
        entries = await self._store.read(self._watch.cursor, BATCH)
        for start in range(0, len(entries), CHUNK):
            for entry in entries[start : start + CHUNK]:
                self._raised += self._watch.apply(entry.offset, entry.kind, entry.payload)
            await self._tell()
            await trio.lowlevel.checkpoint()
        return bool(entries)

    async def _tell(self) -> None:
        """Keep the alerts that were raised; those that storage did not take yet stay for the next attempt."""
        while self._raised:
            await self._alerts.raise_alert(self._raised[0])
            del self._raised[0]
        self._progress.set(self._watch.cursor)

    def _snapshot_due(self) -> bool:
        return (
            self._watch.cursor - self._snapshot_cursor >= SNAPSHOT_ENTRIES
            or trio.current_time() - self._snapshot_at >= SNAPSHOT_S
        )


async def open_watcher(store: Store, alerts: Alerts) -> Watcher:
    """The watcher as of its last snapshot."""
    cursor = await store.cursor(CURSOR)
    documents: list[tuple[str, bytes]] = []
    after = ""
    while page := await store.scan(PREFIX, after=after):
        documents += [(document.key, document.body) for document in page]
        after = page[-1].key
    return Watcher(store, restore_watch(cursor, documents), alerts)
