"""What only PostgreSQL does: several replicas, days, lost connections, crashes of the server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

import asyncpg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from optimizer.bridge import open_bridge
from optimizer.model import ConfigurationError, StorageUnavailable
from optimizer.storage import ABSENT, Cursor, Delete, Put, Record, Store, open_memory
from optimizer.storage.postgres import connections, open_postgres
from optimizer.storage.postgres import log as log_module
from tests.services import command, recorded

pytestmark = pytest.mark.services


Statement = Callable[..., Awaitable[list[tuple[object, ...]]]]
"""Runs a statement on a connection of its own."""


def event(n: int) -> Record:
    return Record(kind="k", key="a", payload=b"%d" % n, dedup=b"%d" % n)


@asynccontextmanager
async def administration(url: str, schema: str) -> AsyncIterator[Statement]:
    async with open_bridge() as bridge:

        async def fetch(statement: str, *values: object) -> list[tuple[object, ...]]:
            async with connections.open_connection(url, schema) as connection:
                return [tuple(row) for row in await connection.fetch(statement, *values)]

        yield lambda statement, *values: bridge.run(fetch, statement, *values)


async def test_replicas_share_log_documents_and_duplicates(postgres_url: str, schema: str) -> None:
    async with open_postgres(postgres_url, schema=schema) as one, open_postgres(postgres_url, schema=schema) as two:
        await one.append([event(1)])
        assert (await two.append([event(1), event(2)])).offsets == (None, 2)
        assert await one.end() == 2
        await one.commit([Put(key="a", body=b"1", expected=ABSENT)], Cursor(name="fold", offset=2))
        assert await two.commit([Put(key="a", body=b"2", expected=1)]) == (2,)
        assert await two.cursor("fold") == 2


async def test_a_waiting_replica_hears_of_another_s_append(postgres_url: str, schema: str) -> None:
    async with open_postgres(postgres_url, schema=schema) as one, open_postgres(postgres_url, schema=schema) as two:
        with trio.fail_after(30):
            await until_listening(two)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(two.wait_beyond, 0)
                await one.append([event(1)])


async def test_a_reader_never_skips_what_replicas_commit_at_the_same_time(postgres_url: str, schema: str) -> None:
    seen: list[int] = []

    async def feed(store: Store, start: int) -> None:
        for n in range(start, start + 15):
            await store.append([event(1000 * n + i) for i in range(3)])

    async def follow(store: Store) -> None:
        after = 0
        while len(seen) < 180:
            await store.wait_beyond(after)
            for entry in await store.read(after, 7):
                seen.append(int(entry.payload))
                assert entry.offset == after + 1
                after = entry.offset

    async with open_postgres(postgres_url, schema=schema) as one, open_postgres(postgres_url, schema=schema) as two:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow, two)
                for start in (0, 100, 200, 300):
                    nursery.start_soon(feed, one if start % 200 else two, start)
    assert len(set(seen)) == 180


async def test_commits_that_meet_in_opposite_order_all_get_through(postgres_url: str, schema: str) -> None:
    async def write(store: Store, keys: list[str]) -> None:
        for i in range(10):
            await store.commit([Put(key=key, body=b"%d" % i) for key in keys] + [Delete(key="common")])
            await store.commit([Put(key="common", body=b"x")])

    async with open_postgres(postgres_url, schema=schema) as one, open_postgres(postgres_url, schema=schema) as two:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for store, keys in ((one, ["a", "b", "c"]), (two, ["c", "b", "a"]), (one, ["b", "c", "a"])):
                    nursery.start_soon(write, store, keys)
        documents = await one.scan("")
        assert [(d.key, d.version) for d in documents if d.key != "common"] == [("a", 30), ("b", 30), ("c", 30)]


async def test_each_day_has_a_partition_and_reading_crosses_them(
    postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(postgres_url, schema=schema) as store:
        for day, numbers in ((3, range(3)), (4, range(3, 5)), (9, range(5, 9))):
            for name in ("_q_append_log", "_q_lock_head"):
                statement = getattr(log_module, name).replace(
                    "clock_timestamp()", f"timestamptz '2031-05-{day:02} 12:00Z'"
                )
                monkeypatch.setattr(log_module, name, statement)
            for n in numbers:
                await store.append([event(n)])
            monkeypatch.undo()
        for after in range(10):
            assert [int(e.payload) for e in await store.read(after, 100)] == list(range(after, 9))
            assert [int(e.payload) for e in await store.read(after, 2)] == list(range(after, 9))[:2]
    async with administration(postgres_url, schema) as run:
        assert await run("SELECT day, first_position FROM log_days ORDER BY day") == [
            (date(2031, 5, 3), 1),
            (date(2031, 5, 4), 4),
            (date(2031, 5, 9), 6),
        ]
        plan = "\n".join(str(row[0]) for row in await run(f"EXPLAIN (ANALYZE) {inlined(log_module._q_read_log)}"))
        assert [line for line in plan.splitlines() if "on log_20310503" in line and "never executed" not in line] == []
        assert "Index Scan using log_20310509_pkey" in plan
        assert "Sort" not in plan


def inlined(statement: str) -> str:
    for name, value in (("$1", "6"), ("$2", "100"), ("$3", "1000000")):
        statement = statement.replace(name, value)
    return statement


@pytest.mark.parametrize("count", [3, log_module.COPY_RECORDS])
async def test_a_day_that_begins_with_duplicates_alone_goes_on(
    postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    batch = [event(n) for n in range(count)]
    async with open_postgres(postgres_url, schema=schema) as store:
        await store.append(batch)
        for name in ("_q_append_log", "_q_lock_head"):
            statement = getattr(log_module, name).replace("clock_timestamp()", "timestamptz '2099-05-01 12:00Z'")
            monkeypatch.setattr(log_module, name, statement)
        assert (await store.append(batch)).duplicates == count
        assert (await store.append([*batch, event(-1)])).offsets[-1] == count + 1
        assert [e.offset for e in await store.read(count - 2, 10)] == [count - 1, count, count + 1]


async def test_a_clock_that_goes_back_stays_on_the_newest_day(postgres_url: str, schema: str) -> None:
    async with open_postgres(postgres_url, schema=schema) as store, administration(postgres_url, schema) as run:
        await store.append([event(1)])
        await run("UPDATE log_days SET day = DATE '2099-01-01'")
        await run("UPDATE log_head SET day = DATE '2099-01-01'")
        await run("CREATE TABLE log_20990101 PARTITION OF log FOR VALUES FROM ('2099-01-01') TO ('2099-01-02')")
        await store.append([event(2)])
        assert await run("SELECT count(*) FROM log_20990101") == [(1,)]


@pytest.mark.parametrize("count", [log_module.COPY_RECORDS - 1, log_module.COPY_RECORDS, 5000])
async def test_few_by_a_function_and_many_by_copy_are_the_same(postgres_url: str, schema: str, count: int) -> None:
    batch = [replace(event(n % 400), dedup=None if n % 7 == 0 else b"%d" % (n % 400)) for n in range(count)]
    async with open_memory() as reference, open_postgres(postgres_url, schema=schema) as store:
        for records in ([event(3), event(4)], batch, batch[::-1], [event(1_000_000)]):
            assert await store.append(records) == await reference.append(records)
        assert list(await store.read(0, 100_000)) == list(await reference.read(0, 100_000))


async def test_lost_connections_are_replaced(postgres_url: str, schema: str) -> None:
    async with open_postgres(postgres_url, schema=schema) as store, administration(postgres_url, schema) as run:
        await store.append([event(1)])
        for n in range(2, 4):
            await run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'llm-auto-optimizer' AND pid <> pg_backend_pid()"
            )
            assert len(await store.read(0, 10)) == n - 1
            with trio.fail_after(60):
                await append_until_taken(store, n)
                await store.wait_beyond(n - 1)
                await until_listening(store)
        assert (await store.health()).writable


async def append_until_taken(store: Store, n: int) -> None:
    """Repeat while the store says that it cannot: with the same dedup key that is safe."""
    while True:
        try:
            await store.append([event(n)])
        except StorageUnavailable:
            await wait_all_tasks_blocked(0.01)
        else:
            return


async def until_listening(store: Store) -> None:
    while ((await store.health()).details or {})["listening"] != "true":
        await wait_all_tasks_blocked(0.01)


async def test_a_crash_of_the_server_loses_nothing_acknowledged(postgres_url: str, schema: str) -> None:
    acknowledged: list[int] = []
    crashed = trio.Event()

    async def feed(store: Store, start: int) -> None:
        for n in range(start, start + 1000):
            try:
                await store.append([event(n)])
            except StorageUnavailable:
                return
            acknowledged.append(n)
            if len(acknowledged) > 100:
                crashed.set()

    async with open_postgres(postgres_url, schema=schema) as store:
        async with trio.open_nursery() as nursery:
            for start in range(0, 8000, 1000):
                nursery.start_soon(feed, store, start)
            await crashed.wait()
            await trio.run_process(["kill", "-9", str(recorded("postgres")["pid"])])
        assert not (await store.health()).writable
        with pytest.raises(StorageUnavailable):
            await store.read(0, 1)
        assert (await trio.to_thread.run_sync(command, "up", "postgres")).returncode == 0
        with trio.fail_after(60):
            await append_until_taken(store, 100_000)
            await until_listening(store)
        assert (await store.health()).writable
        seen = [int(e.payload) for e in await store.read(0, 100_000)]
        assert len(seen) == len(set(seen))
        assert set(acknowledged) <= set(seen)


async def test_it_heals_by_itself_after_a_failed_commit(postgres_url: str, schema: str) -> None:
    async with open_postgres(postgres_url, schema=schema) as store, administration(postgres_url, schema) as run:
        await run("ALTER TABLE documents RENAME TO hidden")
        with pytest.raises(StorageUnavailable, match="documents"):
            await store.commit([Put(key="a", body=b"x")])
        await run("ALTER TABLE hidden RENAME TO documents")
        with trio.fail_after(30):
            while not (await store.health()).writable:
                await wait_all_tasks_blocked(0.01)


async def test_a_lock_held_too_long_is_unavailable_and_not_a_hang(
    postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_S", 1.0)
    async with open_postgres(postgres_url, schema=schema) as store, open_bridge() as bridge:
        held, release = trio.Event(), trio.Event()

        async def hold() -> None:
            connection = await bridge.run(asyncpg.connect, postgres_url)
            await bridge.run(connection.execute, f"BEGIN; SELECT * FROM {schema}.log_head FOR UPDATE")
            held.set()
            await release.wait()
            await bridge.run(connection.close)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await held.wait()
            with pytest.raises(StorageUnavailable, match="lock timeout"):
                await store.append([event(1)])
            release.set()
        await append_until_taken(store, 1)
        assert await store.end() == 1


async def test_a_server_that_is_not_there_is_unavailable_and_no_secret_is_told() -> None:
    with pytest.raises(StorageUnavailable) as caught:
        async with open_postgres("postgresql://user:hunter2@127.0.0.1:1/none"):
            pass
    assert "hunter2" not in str(caught.value)


async def test_a_wrong_password_is_unavailable_and_says_so(postgres_url: str) -> None:
    with pytest.raises(StorageUnavailable, match="password authentication failed"):
        async with open_postgres(postgres_url.replace("optimizer:", "optimizer:not")):
            pass


async def test_a_schema_that_would_need_quoting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="schema"):
        async with open_postgres("postgresql://127.0.0.1:1/none", schema='x"; DROP'):
            pass


async def test_an_error_of_the_body_leaves_as_itself(postgres_url: str, schema: str) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_postgres(postgres_url, schema=schema):
            raise ValueError("mine")


async def test_a_server_that_commits_before_the_disk_is_told_otherwise(postgres_url: str, schema: str) -> None:
    async with open_bridge() as bridge:

        async def setting() -> str:
            async with connections.open_pool(f"{postgres_url}?synchronous_commit=off", schema, 2) as pool:
                value: str = await pool.fetchval("SHOW synchronous_commit")
                return value

        assert await bridge.run(setting) == "on"
