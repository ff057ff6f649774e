"""The store in PostgreSQL: many replicas share one log, whose positions become visible in their order."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
import trio

from optimizer.bridge import Bridge, open_bridge
from optimizer.model import FailedPrecondition, StorageUnavailable
from optimizer.storage.grouping import PROBE_S, GroupWriter, Written, writing
from optimizer.storage.intake import Append, Job
from optimizer.storage.limits import check_changes, check_records, encode_name
from optimizer.storage.postgres.connections import Connection, Pool, check_schema, open_connection, open_pool
from optimizer.storage.postgres.documents import commit_documents, get_cursor, get_document, scan_documents
from optimizer.storage.postgres.errors import Beaten, Lost, database_errors
from optimizer.storage.postgres.log import CHANNEL, append_group, read_end, read_log, touch_head
from optimizer.storage.postgres.migrations import Migrations, known_migrations
from optimizer.storage.protocols import Appended, Cursor, Delete, Document, Entry, Put, Record, StoreHealth

ATTEMPTS = 10
"""Times a commit begins anew because others were in the way; each time at least one of the others got through."""

LISTEN_CHECK_S = 5.0
"""Seconds between looks at the end of the log beside LISTEN: a connection can be dead without anybody saying so."""

log = structlog.stdlib.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def open_postgres(
    url: str, *, schema: str = "optimizer", connections: int = 10, migrate: bool = True
) -> AsyncIterator["PostgresStore"]:
    """The store in that database and schema, brought up to this program's migrations when `migrate` is true.

    One of the pool's `connections` writes the log, the others read and commit; one more listens. Nine replicas stay
    below the server's default of 100.
    Raises: StorageUnavailable when it cannot be reached now; FailedPrecondition when migrations are missing and may
    not be applied, or when the database is newer than this program; ConfigurationError for a bad schema name.
    """
    check_schema(schema)
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(open_bridge())
        await _migrate(Migrations(bridge, url, schema, known_migrations()), schema, allowed=migrate)
        with database_errors():
            pool = await stack.enter_async_context(bridge.opened(partial(open_pool, url, schema, connections)))
        store = PostgresStore(bridge, pool, schema)
        nursery = await stack.enter_async_context(writing(store.group_writer))
        nursery.start_soon(store.follow, partial(open_connection, url, schema))
        yield store


async def _migrate(migrations: Migrations, schema: str, *, allowed: bool) -> None:
    missing = [step for step in await migrations.list() if step.applied_at is None]
    if missing and not allowed:
        raise FailedPrecondition(f"schema {schema} lacks {len(missing)} migrations; run `llm-optimizer migrate`")
    if missing:
        await migrations.apply()


class PostgresStore:
    """See `Store`. Appends of one process share transactions; commits are transactions of their own."""

    def __init__(self, bridge: Bridge, pool: Pool, schema: str) -> None:
        self._bridge = bridge
        self._pool = pool
        self._schema = schema
        self._end = 0
        self._grown = trio.Event()
        self._following = False
        self.group_writer = GroupWriter(self._write, self._probe)

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`. Concurrent calls share a transaction."""
        answer = await self.group_writer.call(Append(records, check_records(records)))
        if not isinstance(answer, Appended):
            raise TypeError(f"the writer answered an append with {answer!r}")
        return answer

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """See `Log.read`."""
        return await self._ask(read_log, self._pool, after, limit)

    async def end(self) -> int:
        """See `Log.end`: asked of the database, so that appends of other replicas count."""
        end = await self._ask(read_end, self._pool)
        self._notice(end)
        return end

    async def wait_beyond(self, offset: int) -> None:
        """See `Log.wait_beyond`: told by the database, whichever replica appended."""
        if self._end <= offset:
            await self.end()
        while self._end <= offset:
            await self._grown.wait()

    async def get(self, key: str) -> Document | None:
        """See `Documents.get`."""
        encode_name(key)
        return await self._ask(get_document, self._pool, key)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """See `Documents.scan`."""
        return await self._ask(scan_documents, self._pool, prefix, after, limit)

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """See `Documents.commit`."""
        check_changes(changes, cursor)
        try:
            return await self._commit(changes, cursor)
        except StorageUnavailable as e:
            self.group_writer.note_failure(e)
            raise

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        return await self._ask(get_cursor, self._pool, name)

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        await trio.lowlevel.checkpoint()
        failure = self.group_writer.failure
        message = None if failure is None else str(failure)
        details = {
            "schema": self._schema,
            "end": str(self._end),
            "waiting": str(self.group_writer.waiting),
            "connections": str(self._pool.get_size()),
            "idle_connections": str(self._pool.get_idle_size()),
            "listening": str(self._following).lower(),
        }
        return StoreHealth(mode="postgres", writable=failure is None, message=message, details=details)

    async def follow(self, connect: Callable[[], AbstractAsyncContextManager[Connection]]) -> None:
        """Keep listening for the end of the log, whoever moves it; started by `open_postgres`."""
        pause = 0.1
        while True:
            try:
                async with AsyncExitStack() as stack:
                    with database_errors():
                        connection = await stack.enter_async_context(self._bridge.opened(connect))
                        pause = 0.1
                        await self._listen(connection)
            except StorageUnavailable as e:
                log.warning("log_listener_lost", error=str(e), again_in_s=pause)
            finally:
                self._following = False
            await trio.sleep(pause)
            pause = min(2 * pause, PROBE_S)

    async def _listen(self, connection: Connection) -> None:
        """Until the connection is lost. Raises: what asyncpg raises."""
        ended = trio.Event()

        def hear(_connection: Connection, _pid: int, _channel: str, payload: str) -> None:
            schema, _, end = payload.partition(" ")
            if schema == self._schema:
                self._notice(int(end))

        connection.add_termination_listener(lambda _: ended.set())
        await self._bridge.run(connection.add_listener, CHANNEL, hear)
        while not ended.is_set():
            self._notice(await self._bridge.run(read_end, connection))
            self._following = True
            with trio.move_on_after(LISTEN_CHECK_S):
                await ended.wait()
        raise Lost("PostgreSQL closed the listening connection")

    async def _write(self, jobs: list[Job]) -> Written:
        appends = [job for job in jobs if isinstance(job, Append)]
        answers = await self._call(append_group, self._pool, appends)
        offsets = [offset for answer in answers for offset in answer.offsets if offset is not None]
        self._notice(max(offsets, default=0))
        return Written(answers, durable=True)

    async def _probe(self) -> None:
        await self._call(touch_head, self._pool)

    async def _commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None) -> tuple[int, ...]:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._call(commit_documents, self._pool, changes, cursor)
            except Beaten:
                continue
        return await self._call(commit_documents, self._pool, changes, cursor)

    async def _ask(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read; once more on a new connection when the first one turned out to be dead."""
        try:
            return await self._call(function, *args, **kwargs)
        except Lost:
            return await self._call(function, *args, **kwargs)

    async def _call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with database_errors():
                return await self._bridge.run(function, *args, **kwargs)
        except Lost:
            await self._bridge.run(self._pool.expire_connections)  # the others are likely to be as dead
            raise

    def _notice(self, end: int) -> None:
        if end > self._end:
            self._end = end
            self._grown.set()
            self._grown = trio.Event()
