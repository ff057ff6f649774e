"""The windows' task: folds the log into windows over calls, keeps their results and tells them.

Results, state and cursor are written in one transaction, so that every result is exact across a crash. Only telling is
not repeated: what ended just before a crash is a document, but perhaps no news.
"""

from contextlib import suppress

import structlog
import trio

from optimizer.bus import Topic
from optimizer.core.windowing import (
    CLOCK,
    SERVICES,
    CallWindows,
    decode_result,
    restore_windows,
    result_key,
    results_of,
)
from optimizer.core.windows import WindowResult
from optimizer.model import StorageUnavailable
from optimizer.processor.progress import Progress
from optimizer.storage import Cursor, Delete, Put, Store

CURSOR = "windows"
BATCH = 1_000
CHUNK = 50  # entries between two checkpoints: about a millisecond
TICK_S = 0.5  # how long a quiet log is waited for before it is looked at whether to write
SNAPSHOT_S = 30.0
SNAPSHOT_ENTRIES = 100_000
CATCH_UP_S = 2.0  # how long a question waits; the answer is then from what is folded
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Windows:
    """The windows, kept up to date with the log; what ends is published once it is durable."""

    def __init__(self, store: Store, windows: CallWindows, topic: Topic[WindowResult]) -> None:
        self._store = store
        self._windows = windows
        self._topic = topic
        self._progress = Progress(windows.cursor)
        self._written = windows.cursor
        self._written_at = trio.current_time()

    async def select(self, service: str, since: int | None, until: int | None) -> list[WindowResult]:
        """The windows that overlap [since, until), oldest first, after what was in the log when asked.

        Windows that have not ended come last, with the reason "open".
        """
        with trio.move_on_after(CATCH_UP_S):
            await self._progress.reach(await self._store.end())
        found = dict(self._windows.results)  # before the scan, which may miss what is written meanwhile
        kept: dict[str, WindowResult | None] = {}
        prefix, after = results_of(service), ""
        while page := await self._store.scan(prefix, after=after):
            kept |= {document.key: decode_result(document.body) for document in page}
            after = page[-1].key
        kept |= found | self._windows.results
        ended = [r for k, r in sorted(kept.items()) if r is not None and k == result_key(service, r.start, r.end)]
        return [
            r
            for r in ended + self._windows.open_windows(service)
            if (since is None or r.end > since) and (until is None or r.start < until)
        ]

    def counts(self, service: str) -> tuple[int, int]:
        """Calls that came after their window had ended, and those of them that changed no result any more."""
        return self._windows.counts(service)

    async def run(self) -> None:
        """Fold the log for ever. Storage that is away is waited for."""
        while True:
            try:
                if not await self._step():
                    with trio.move_on_after(TICK_S):
                        await self._store.wait_beyond(self._windows.cursor)
                if self._due():
                    await self.write()
            except StorageUnavailable as error:
                log.warning("the windows wait for storage", cursor=self._windows.cursor, error=str(error))
                await trio.sleep(RETRY_S)

    async def write(self) -> None:
        """Write what changed and the cursor in one transaction, then tell what ended."""
        if self._windows.cursor == self._written and not self._windows.results:
            return
        changes: list[Put | Delete] = [
            Delete(key=key) if body is None else Put(key=key, body=body) for key, body in self._windows.documents()
        ]
        await self._store.commit(changes, Cursor(name=CURSOR, offset=self._windows.cursor))
        self._windows.settle()
        self._written, self._written_at = self._windows.cursor, trio.current_time()
        told, self._windows.told = self._windows.told, []
        for result in told:
            with suppress(trio.ClosedResourceError):  # the process stops: nobody listens any more
                self._topic.publish_nowait(result)

    async def _step(self) -> bool:
        entries = await self._store.read(self._windows.cursor, BATCH)
        for start in range(0, len(entries), CHUNK):
            for entry in entries[start : start + CHUNK]:
                self._windows.apply(entry.offset, entry.kind, entry.payload)
                if self._windows.full:
                    await self.write()
            self._progress.set(self._windows.cursor)
            await trio.lowlevel.checkpoint()
        return bool(entries)

    def _due(self) -> bool:
        return (
            bool(self._windows.told)
            or self._windows.cursor - self._written >= SNAPSHOT_ENTRIES
            or trio.current_time() - self._written_at >= SNAPSHOT_S
        )


async def open_windows(store: Store, size_s: int, topic: Topic[WindowResult]) -> Windows:
    """The windows as they were last written."""
    cursor = await store.cursor(CURSOR)
    documents: list[tuple[str, bytes]] = []
    after = ""
    while page := await store.scan(SERVICES, after=after):
        documents += [(document.key, document.body) for document in page]
        after = page[-1].key
    clock = await store.get(CLOCK)
    if clock is not None:
        documents.insert(0, (CLOCK, clock.body))
    return Windows(store, restore_windows(size_s, cursor, documents), topic)
