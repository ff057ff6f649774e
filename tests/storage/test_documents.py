"""The documents' contract, over every backend."""

import pytest
import trio

from optimizer.model import Conflict, InvalidArgument
from optimizer.storage import ABSENT, Cursor, Delete, Document, Put, Record, Store
from optimizer.storage.limits import CALL_BYTES, NAME_BYTES
from tests.storage.conftest import Backend


async def test_an_absent_document_is_none(backend: Backend) -> None:
    async with backend.open() as store:
        assert await store.get("nothing") is None
        assert list(await store.scan("")) == []
        assert await store.cursor("nobody") == 0


async def test_versions_count_from_one_and_survive_a_restart(backend: Backend) -> None:
    async with backend.open() as store:
        assert await store.commit([Put(key="a", body=b"1")]) == (1,)
        assert await store.commit([Put(key="a", body=b"2"), Put(key="b", body=b"")]) == (2, 1)
    async with backend.open() as store:
        assert await store.get("a") == Document("a", 2, b"2")
        assert await store.get("b") == Document("b", 1, b"")
        assert await store.commit([Delete(key="a"), Delete(key="never")]) == (0, 0)
        assert await store.get("a") is None
        assert await store.commit([Put(key="a", body=b"again", expected=ABSENT)]) == (1,)


async def test_a_wrong_version_is_a_conflict_and_changes_nothing(backend: Backend) -> None:
    async with backend.open() as store:
        await store.commit([Put(key="a", body=b"1"), Put(key="z", body=b"z")], Cursor(name="fold", offset=3))
        for wrong in (
            Put(key="a", body=b"x", expected=2),
            Put(key="a", body=b"x", expected=ABSENT),
            Put(key="new", body=b"x", expected=1),
            Delete(key="a", expected=2),
            Delete(key="new", expected=1),
        ):
            with pytest.raises(Conflict):
                await store.commit([Put(key="z", body=b"changed"), wrong], Cursor(name="fold", offset=9))
        assert await store.get("a") == Document("a", 1, b"1")
        assert await store.get("z") == Document("z", 1, b"z")
        assert await store.get("new") is None
        assert await store.cursor("fold") == 3


async def test_later_changes_of_one_commit_see_earlier_ones(backend: Backend) -> None:
    async with backend.open() as store:
        versions = await store.commit(
            [
                Put(key="a", body=b"1", expected=ABSENT),
                Put(key="a", body=b"2", expected=1),
                Delete(key="a", expected=2),
                Put(key="a", body=b"3", expected=ABSENT),
            ]
        )
        assert versions == (1, 2, 0, 1)
        assert await store.get("a") == Document("a", 1, b"3")
        with pytest.raises(Conflict):
            await store.commit([Delete(key="a"), Put(key="a", body=b"4", expected=1)])


async def test_the_cursor_moves_with_the_documents(backend: Backend) -> None:
    async with backend.open() as store:
        await store.commit([Put(key="snapshot", body=b"10")], Cursor(name="fold", offset=10))
        await store.commit([], Cursor(name="other", offset=2**62))
        assert await store.commit([], Cursor(name="fold", offset=4)) == ()
    async with backend.open() as store:
        assert await store.cursor("fold") == 4
        assert await store.cursor("other") == 2**62


async def test_scanning_by_prefix_in_the_order_of_bytes(backend: Backend) -> None:
    keys = ["a", "a/1", "a/10", "a/2", "a/é", "a/z", "a/\uffff", "a/\U0001f600", "a\x00b", "b", "ÿ", "a0"]
    async with backend.open() as store:
        await store.commit([Put(key=key, body=key.encode()) for key in keys])
        ordered = sorted(keys, key=str.encode)
        assert [d.key for d in await store.scan("")] == ordered
        assert [d.key for d in await store.scan("a/")] == [k for k in ordered if k.startswith("a/")]
        assert [d.body for d in await store.scan("a/", limit=2)] == [b"a/1", b"a/10"]
        assert [d.key for d in await store.scan("a/", after="a/10", limit=2)] == ["a/2", "a/z"]
        assert [d.key for d in await store.scan("a/", after="zzz")] == []
        assert [d.key for d in await store.scan("a/", after="A", limit=1)] == ["a/1"]
        assert list(await store.scan("a/", limit=0)) == []
        assert [d.key for d in await store.scan("\U0010ffff")] == []


async def test_keys_that_end_in_the_last_character_scan_too(backend: Backend) -> None:
    keys = ["\U0010ffff", "\U0010ffff\U0010ffff", "\U0010ffffa", "\U0010fffe"]
    async with backend.open() as store:
        await store.commit([Put(key=key, body=b"") for key in keys])
        found = [d.key for d in await store.scan("\U0010ffff")]
        assert found == ["\U0010ffff", "\U0010ffffa", "\U0010ffff\U0010ffff"]


async def test_of_concurrent_writers_with_the_same_version_one_wins(backend: Backend) -> None:
    outcomes: list[int] = []
    conflicts = 0

    async def write(store: Store, n: int) -> None:
        nonlocal conflicts
        try:
            outcomes.extend(await store.commit([Put(key="a", body=b"%d" % n, expected=1)]))
        except Conflict:
            conflicts += 1

    async with backend.open() as store:
        await store.commit([Put(key="a", body=b"first")])
        async with trio.open_nursery() as nursery:
            for n in range(25):
                nursery.start_soon(write, store, n)
        assert outcomes == [2]
        assert conflicts == 24


async def test_a_conflict_does_not_hurt_its_neighbours(backend: Backend) -> None:
    results: dict[str, object] = {}

    async def write(store: Store, key: str, expected: int) -> None:
        try:
            results[key] = await store.commit([Put(key=key, body=b"x", expected=expected)])
        except Conflict:
            results[key] = "conflict"

    async def append(store: Store, n: int) -> None:
        results[f"log{n}"] = (await store.append([Record(kind="k", key="a", payload=b"%d" % n)])).duplicates

    async with backend.open() as store:
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(write, store, f"good{n}", ABSENT)
                nursery.start_soon(write, store, f"bad{n}", 7)
                nursery.start_soon(append, store, n)
        assert [results[f"good{n}"] for n in range(10)] == [(1,)] * 10
        assert [results[f"bad{n}"] for n in range(10)] == ["conflict"] * 10
        assert len(await store.read(0, 100)) == 10


async def test_documents_and_log_do_not_meet(backend: Backend) -> None:
    async with backend.open() as store:
        await store.append([Record(kind="k", key="a", payload=b"x", dedup=b"a")])
        await store.commit([Put(key="a", body=b"doc")], Cursor(name="a", offset=1))
        assert [d.key for d in await store.scan("")] == ["a"]
        assert len(await store.read(0, 10)) == 1


@pytest.mark.parametrize(
    "change",
    [
        Put(key="", body=b""),
        Put(key="x" * (NAME_BYTES + 1), body=b""),
        Put(key="\ud800", body=b""),
        Put(key="a", body=b"", expected=-2),
        Put(key="a", body=b"x" * (CALL_BYTES + 1)),
    ],
    ids=["empty", "long", "surrogate", "version", "large"],
)
async def test_what_the_limits_do_not_allow_is_refused_whole(backend: Backend, change: Put) -> None:
    async with backend.open() as store:
        with pytest.raises(InvalidArgument):
            await store.commit([Put(key="good", body=b""), change])
        with pytest.raises(InvalidArgument):
            await store.commit([Put(key="good", body=b"")], Cursor(name="c", offset=-1))
        assert list(await store.scan("")) == []


async def test_a_name_that_is_not_text_is_an_invalid_argument(backend: Backend) -> None:
    async with backend.open() as store:
        with pytest.raises(InvalidArgument):
            await store.get("\ud800")
        with pytest.raises(InvalidArgument):
            await store.scan("\ud800")


async def test_health_says_what_and_that_it_can_write(backend: Backend) -> None:
    async with backend.open() as store:
        health = await store.health()
        assert health.mode == backend.name
        assert health.writable
        assert health.message is None
