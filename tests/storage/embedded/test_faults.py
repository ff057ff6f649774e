"""When the disk does not take it: nothing acknowledged, health says so, the process lives and heals."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import trio

from optimizer.model import Conflict, StorageUnavailable
from optimizer.storage import ABSENT, Cursor, Put, Record, Store, open_embedded

EVENTS = [Record(kind="k", key="a", payload=b"%d" % i, dedup=b"%d" % i) for i in range(10)]


class FailingConnection(sqlite3.Connection):
    """Fails the statements that begin so, before (`fail`) or after (`fail_after`) they took effect."""

    fail: str | None = None
    fail_after: str | None = None

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if FailingConnection.fail is not None and sql.startswith(FailingConnection.fail):
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(sql, *args)  # type: ignore[arg-type]
        if FailingConnection.fail_after is not None and sql.startswith(FailingConnection.fail_after):
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def executemany(self, sql: str, rows: object) -> sqlite3.Cursor:
        if FailingConnection.fail is not None and sql.startswith(FailingConnection.fail):
            raise sqlite3.OperationalError("database or disk is full")
        return super().executemany(sql, rows)  # type: ignore[arg-type]


@pytest.fixture
def failing() -> Iterator[type[FailingConnection]]:
    connect = sqlite3.connect

    def connect_failing(*args: object, **options: object) -> sqlite3.Connection:
        return connect(*args, factory=FailingConnection, **options)  # type: ignore[call-overload,no-any-return]

    with mock.patch("optimizer.storage.embedded.mapping.sqlite3.connect", connect_failing):
        yield FailingConnection
    FailingConnection.fail = FailingConnection.fail_after = None


@contextmanager
def refused(message: str) -> Iterator[None]:
    with pytest.raises(StorageUnavailable, match=message):
        yield


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
async def test_a_failed_write_acknowledges_nothing_and_the_store_heals(
    folder: Path, failing: type[FailingConnection], statement: str
) -> None:
    async with open_embedded(folder) as store:
        await store.append(EVENTS[:2])
        failing.fail = statement
        with refused("disk"):
            await store.append(EVENTS[2:5])
        with refused("disk"):
            await store.commit([Put(key="a", body=b"x")], Cursor(name="fold", offset=2))
        health = await store.health()
        assert not health.writable
        assert "disk" in (health.message or "")
        assert await store.end() == 2
        assert len(await store.read(0, 100)) == 2  # reading goes on
        failing.fail = None
        assert (await store.append(EVENTS)).offsets == (None, None, 3, 4, 5, 6, 7, 8, 9, 10)
        assert await store.commit([Put(key="a", body=b"x", expected=ABSENT)]) == (1,)
        assert (await store.health()).writable


async def test_a_commit_that_fails_after_the_disk_took_it_is_found_when_reading_anew(
    folder: Path, failing: type[FailingConnection]
) -> None:
    async with open_embedded(folder) as store:
        failing.fail_after = "COMMIT"
        with refused("disk"):
            await store.append(EVENTS)
        with refused("disk"):
            await store.commit([Put(key="a", body=b"x", expected=ABSENT)])
        failing.fail_after = None
        assert (await store.append(EVENTS)).duplicates == 10
        with pytest.raises(Conflict):
            await store.commit([Put(key="a", body=b"x", expected=ABSENT)])
        assert (await store.append([Record(kind="k", key="a", payload=b"next")])).offsets == (11,)
        assert [e.offset for e in await store.read(0, 100)] == list(range(1, 12))


async def test_it_heals_by_itself_and_wakes_readers(
    folder: Path, failing: type[FailingConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.storage.grouping.PROBE_S", 0.01)
    async with open_embedded(folder) as store:
        failing.fail_after = "COMMIT"
        with refused("disk"):
            await store.append(EVENTS)
        failing.fail_after = None
        with trio.fail_after(30):
            await store.wait_beyond(9)  # the lost answer's records are there
        assert (await store.health()).writable


async def test_every_call_of_a_failed_group_is_told(folder: Path, failing: type[FailingConnection]) -> None:
    told = 0

    async def append(store: Store, n: int) -> None:
        nonlocal told
        with refused("disk"):
            await store.append([EVENTS[n]])
        told += 1

    async with open_embedded(folder) as store:
        failing.fail = "COMMIT"
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(append, store, n)
        failing.fail = None
        assert told == 10
        assert (await store.append(EVENTS)).duplicates == 0


FULL_DISK = """
import json, resource, sys, trio
from pathlib import Path
from optimizer.model import StorageUnavailable
from optimizer.storage import Record, open_embedded

async def main():
    acked, refused = 0, []
    async with open_embedded(Path(sys.argv[1])) as store:
        def records(n):
            return [Record(kind="k", key="a", payload=bytes(1000), dedup=b"%d-%d" % (n, i)) for i in range(100)]
        for n in range(3):
            await store.append(records(n))
            acked += 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
        for n in range(3, 20):
            try:
                await store.append(records(n))
                acked += 100
            except StorageUnavailable as e:
                refused.append(str(e))
        sick = await store.health()
        readable = len(await store.read(0, 10))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.append(records(100))
        acked += 100
        well = await store.health()
        print(json.dumps([acked, len(refused), refused[0], sick.writable, sick.message, readable, well.writable]))

trio.run(main)
"""


async def test_a_full_disk_refuses_and_room_heals(folder: Path) -> None:
    done = await trio.run_process([sys.executable, "-c", FULL_DISK, str(folder)], capture_stdout=True)
    acked, refused_calls, reason, writable, message, readable, healed = json.loads(done.stdout)
    assert refused_calls > 5
    assert "disk" in reason
    assert (writable, message, readable, healed) == (False, reason, 10, True)
    async with open_embedded(folder) as store:
        assert await store.end() >= acked
        entries = await store.read(0, 10_000)
        assert [e.offset for e in entries] == list(range(1, len(entries) + 1))
