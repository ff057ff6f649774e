"""The embedded store: one file, one writer thread inside the tree, group commit."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from optimizer.storage.embedded.folder import hold_folder
from optimizer.storage.embedded.reader import Readers, read_cursor, read_document, read_log, scan_documents
from optimizer.storage.embedded.writer import Writer
from optimizer.storage.grouping import CLOSE_S, GroupWriter, Written, writing
from optimizer.storage.intake import Answer, Append, Commit, Job
from optimizer.storage.limits import check_changes, check_records, encode_name
from optimizer.storage.protocols import Appended, Cursor, Delete, Document, Entry, Put, Record, StoreHealth

FILE_NAME = "store.sqlite3"


@asynccontextmanager
async def open_embedded(folder: Path) -> AsyncIterator["EmbeddedStore"]:
    """The store in `folder`, which is created with mode 0700 when missing and held by this process alone.

    On leaving, calls that were already made are finished. A log left by a crash is recovered on opening.
    Raises: StoreLocked, StorageUnavailable, StoreCorrupt (also for a file of another format).
    """
    path = folder / FILE_NAME
    with hold_folder(folder):
        writer = await trio.to_thread.run_sync(Writer, path)
        try:
            readers = await trio.to_thread.run_sync(Readers, path)
            try:
                store = EmbeddedStore(path, writer, readers)
                async with writing(store.group_writer):
                    yield store
            finally:
                readers.close()
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await trio.to_thread.run_sync(writer.close)


class EmbeddedStore:
    """See `Store`. Reads happen in worker threads beside the writer."""

    def __init__(self, path: Path, writer: Writer, readers: Readers) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers
        self._limiter = trio.CapacityLimiter(1)
        self._grown = trio.Event()
        self._end = writer.end
        self.group_writer = GroupWriter(self._write, self._probe)

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`. Concurrent calls share a commit."""
        answer = await self.group_writer.call(Append(records, check_records(records)))
        if not isinstance(answer, Appended):
            raise TypeError(f"the writer answered an append with {answer!r}")
        return answer

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """See `Log.read`. Raises: StorageUnavailable, StoreCorrupt."""
        return await self._readers.run(partial(read_log, after=after, limit=limit))

    async def end(self) -> int:
        """See `Log.end`."""
        await trio.lowlevel.checkpoint()
        return self._end

    async def wait_beyond(self, offset: int) -> None:
        """See `Log.wait_beyond`."""
        await trio.lowlevel.checkpoint()
        while self._end <= offset:
            await self._grown.wait()

    async def get(self, key: str) -> Document | None:
        """See `Documents.get`."""
        return await self._readers.run(partial(read_document, name=encode_name(key)))

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """See `Documents.scan`."""
        read = partial(scan_documents, prefix=encode_name(prefix), after=encode_name(after), limit=limit)
        return await self._readers.run(read)

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """See `Documents.commit`. Concurrent calls share a commit; a conflict fails its own call alone."""
        answer = await self.group_writer.call(Commit(changes, cursor, check_changes(changes, cursor)))
        if not isinstance(answer, tuple):
            raise TypeError(f"the writer answered a commit with {answer!r}")
        return answer

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        return await self._readers.run(partial(read_cursor, name=encode_name(name)))

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        await trio.lowlevel.checkpoint()
        details = {
            "file": str(self._path),
            "end": str(self._end),
            "commits": str(self._writer.commits),
            "waiting": str(self.group_writer.waiting),
        }
        failure = self.group_writer.failure
        message = None if failure is None else str(failure)
        return StoreHealth(mode="embedded", writable=failure is None, message=message, details=details)

    async def _write(self, jobs: list[Job]) -> Written:
        before = self._writer.commits
        answers = await trio.to_thread.run_sync(self._work, jobs, limiter=self._limiter)
        self._follow()
        return Written(answers, durable=self._writer.commits > before)

    def _work(self, jobs: list[Job]) -> Sequence[Answer]:
        if self._writer.wants_maintenance:
            self._writer.maintain()
        return self._writer.write(jobs)

    async def _probe(self) -> None:
        await trio.to_thread.run_sync(self._writer.probe, limiter=self._limiter)
        self._follow()

    def _follow(self) -> None:
        """The end of the log is where the writer says; it may also have moved when a failed commit was read anew."""
        if self._writer.end > self._end:
            self._end = self._writer.end
            self._grown.set()
            self._grown = trio.Event()
