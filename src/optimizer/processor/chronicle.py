"""The chronicle's task: folds the log into the history of calls and series, beside the decision's own fold.

It has its own cursor and never holds up a decision; whoever asks waits until it has caught up with that moment.
"""

from contextlib import suppress

import structlog
import trio

from optimizer.bus import Latest, Topic
from optimizer.core import records
from optimizer.core.history import History, restore_history
from optimizer.model import InvalidArgument, MetricSample, StorageUnavailable
from optimizer.storage import Cursor, Delete, Put, Store

CURSOR = "history"
PREFIX = "history/"
BATCH = 2_000  # entries read at once: a few hundred KB
CHUNK = 100  # entries between two checkpoints: about a millisecond
TICK_S = 1.0  # how long a quiet log is waited for before the snapshot is looked at
SNAPSHOT_S = 30.0  # a crash replays at most about this much, or so many entries
SNAPSHOT_ENTRIES = 200_000
SNAPSHOT_ITEMS = 1_000  # tallies and series to write: a few KB each, and one transaction holds 16 MiB
CATCH_UP_S = 2.0  # how long a question waits; the answer is then from what is folded
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Chronicle:
    """The history, kept up to date. Samples that arrive while it runs are published on `samples`."""

    def __init__(self, store: Store, history: History, samples: Topic[MetricSample], born: int) -> None:
        self._store = store
        self._history = history
        self._samples = samples
        self._born = born  # older samples are history, not news
        self._progress = Latest(history.cursor)
        self._snapshot_cursor = history.cursor
        self._snapshot_at = trio.current_time()

    @property
    def cursor(self) -> int:
        """The log offset up to which everything is in the history."""
        return self._progress.get()

    async def fresh(self) -> History:
        """The history with everything that was in the log when asked; after 2 s with what is folded by then."""
        with trio.move_on_after(CATCH_UP_S):
            end, seen = await self._store.end(), self._progress.version
            while self._progress.get() < end:
                _, seen = await self._progress.wait_beyond(seen)
        return self._history

    async def run(self) -> None:
        """Fold the log for ever. Storage that is away is waited for."""
        while True:
            try:
                if not await self._step():
                    with trio.move_on_after(TICK_S):
                        await self._store.wait_beyond(self._history.cursor)
                if self._snapshot_due():
                    await self.write_snapshot()
            except InvalidArgument:  # a snapshot beyond the store's bounds: the log has everything that would be in it
                log.exception("no snapshot of the history", cursor=self._history.cursor)
                self._snapshot_at, self._snapshot_cursor = trio.current_time(), self._history.cursor
            except StorageUnavailable as error:
                log.warning("the history waits for storage", cursor=self._history.cursor, error=str(error))
                await trio.sleep(RETRY_S)

    async def write_snapshot(self) -> None:
        """Write what changed and the cursor in one transaction. When that fails, the next start replays the log."""
        if self._history.cursor == self._snapshot_cursor:
            return
        cursor = Cursor(name=CURSOR, offset=self._history.cursor)
        changes: list[Put | Delete] = [
            Delete(key=key) if body is None else Put(key=key, body=body) for key, body in self._history.changed()
        ]
        await self._store.commit(changes, cursor)
        self._history.settle()
        self._snapshot_cursor = cursor.offset
        self._snapshot_at = trio.current_time()

    async def _step(self) -> bool:
        entries = await self._store.read(self._history.cursor, BATCH)
        for start in range(0, len(entries), CHUNK):
            for entry in entries[start : start + CHUNK]:
                self._history.apply(entry.offset, entry.kind, entry.key, entry.payload)
                if entry.kind == records.METRIC and entry.offset > self._born:
                    self._tell(records.decode_metric(entry.payload))
            self._progress.set(self._history.cursor)
            await trio.lowlevel.checkpoint()
        return bool(entries)

    def _tell(self, sample: MetricSample) -> None:
        with suppress(trio.ClosedResourceError):  # the process stops: nobody listens any more
            self._samples.publish_nowait(sample)

    def _snapshot_due(self) -> bool:
        return (
            self._history.unsaved() >= SNAPSHOT_ITEMS
            or self._history.cursor - self._snapshot_cursor >= SNAPSHOT_ENTRIES
            or trio.current_time() - self._snapshot_at >= SNAPSHOT_S
        )


async def open_chronicle(store: Store, samples: Topic[MetricSample]) -> Chronicle:
    """The chronicle as of its last snapshot."""
    cursor = await store.cursor(CURSOR)
    documents: list[tuple[str, bytes]] = []
    after = ""
    while page := await store.scan(PREFIX, after=after):
        documents += [(document.key, document.body) for document in page]
        after = page[-1].key
    return Chronicle(store, restore_history(cursor, documents), samples, await store.end())
