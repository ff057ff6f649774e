"""The embedded store: one file, one writer thread inside the tree, group commit."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from optimizer.model import OptimizerError, StorageUnavailable, StoreCorrupt
from optimizer.storage.embedded.folder import hold_folder
from optimizer.storage.embedded.intake import Append, Commit, Intake, Job
from optimizer.storage.embedded.reader import Readers, read_cursor, read_document, read_log, scan_documents
from optimizer.storage.embedded.writer import Writer
from optimizer.storage.limits import check_changes, check_records, encode_name
from optimizer.storage.protocols import Appended, Cursor, Delete, Document, Entry, Put, Record, StoreHealth

FILE_NAME = "store.sqlite3"

CLOSE_S = 5.0
"""Seconds for the writer to finish what it was given, and again for closing the file."""

PROBE_S = 1.0
"""Seconds between attempts to write while the store cannot, so that it heals without a caller who risks data."""

T = TypeVar("T")


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
                async with _running(EmbeddedStore(path, writer, readers)) as store:
                    yield store
            finally:
                readers.close()
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await trio.to_thread.run_sync(writer.close)


@asynccontextmanager
async def _running(store: "EmbeddedStore") -> AsyncIterator["EmbeddedStore"]:
    """Run the writer's task around the body. An error of the body leaves as itself, not inside a group."""
    failed: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(store.write_jobs)
            try:
                yield store
            except BaseException as e:
                failed = e
                raise
            finally:
                store.close()
                scope.deadline = trio.current_time() + CLOSE_S
    except BaseExceptionGroup as group:
        if failed is not None and group.exceptions == (failed,):
            raise failed from failed.__cause__
        raise


class EmbeddedStore:
    """See `Store`. Reads happen in worker threads beside the writer."""

    def __init__(self, path: Path, writer: Writer, readers: Readers) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers
        self._intake = Intake()
        self._grown = trio.Event()
        self._end = writer.end
        self._failure: OptimizerError | None = None
        self._commits = writer.commits
        self._limiter = trio.CapacityLimiter(1)

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`. Concurrent calls share a commit."""
        job = Append(records, check_records(records))
        await self._intake.submit(job)
        if isinstance(job.answer, Appended):
            return job.answer
        raise _failed(job.answer)

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
        job = Commit(changes, cursor, check_changes(changes, cursor))
        await self._intake.submit(job)
        if isinstance(job.answer, tuple):
            return job.answer
        raise _failed(job.answer)

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        return await self._readers.run(partial(read_cursor, name=encode_name(name)))

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        await trio.lowlevel.checkpoint()
        details = {
            "file": str(self._path),
            "end": str(self._end),
            "commits": str(self._commits),
            "waiting": str(len(self._intake)),
        }
        message = None if self._failure is None else str(self._failure)
        return StoreHealth(mode="embedded", writable=self._failure is None, message=message, details=details)

    async def write_jobs(self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        """The writer's task, started by `open_embedded`: group after group until the store is closed.

        It outlives a cancelled body so that calls made in the body's shielded clean-up are served; the deadline comes
        from `open_embedded` as soon as the body has left.
        """
        with trio.CancelScope(shield=True, deadline=math.inf) as scope:
            task_status.started(scope)
            while not (self._intake.closed and not len(self._intake)):
                with trio.move_on_after(math.inf if self._failure is None else PROBE_S):
                    await self._intake.wait()
                jobs = self._intake.take()
                if jobs:
                    await self._write(jobs)
                elif self._failure is not None and not self._intake.closed:
                    await self._attempt(self._writer.probe)
        for job in self._intake.take():
            job.answer = StorageUnavailable(f"the store in {self._path.parent} closed before it could write")
            job.done.set()

    def close(self) -> None:
        """No further writes; those that wait are finished."""
        self._intake.close()

    async def _write(self, jobs: list[Job]) -> None:
        answers = await self._attempt(partial(self._writer.write, jobs))
        for i, job in enumerate(jobs):
            job.answer = self._failure if answers is None else answers[i]
            job.done.set()
        if answers is not None and self._writer.wants_maintenance:
            await self._attempt(self._writer.maintain)

    async def _attempt(self, work: Callable[[], T]) -> T | None:
        """What the writer's work returns, or None when it failed; health and the end of the log follow."""
        try:
            result = await trio.to_thread.run_sync(work, limiter=self._limiter)
        except (StorageUnavailable, StoreCorrupt) as e:
            self._failure = e
            return None
        if self._writer.commits > self._commits:  # something was really written
            self._commits = self._writer.commits
            self._failure = None
        if self._writer.end > self._end:
            self._end = self._writer.end
            self._grown.set()
            self._grown = trio.Event()
        return result


def _failed(answer: object) -> OptimizerError:
    """A fresh error for this caller: one failed commit answers many."""
    if isinstance(answer, OptimizerError):
        return type(answer)(str(answer))
    raise TypeError(f"the writer answered {answer!r}")
