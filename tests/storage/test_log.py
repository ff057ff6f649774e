"""The log's contract, over every backend."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.model import InvalidArgument
from optimizer.storage import Entry, MemoryState, Record, Store, open_memory
from optimizer.storage.limits import APPEND_RECORDS, CALL_BYTES, NAME_BYTES
from tests.storage.conftest import Backend


def records(prefix: str, count: int, *, dedup: bool = True) -> list[Record]:
    return [
        Record(kind="k", key="svc", payload=f"{prefix}{i}".encode(), dedup=f"{prefix}{i}".encode() if dedup else None)
        for i in range(count)
    ]


async def read_all(store: Store, limit: int = 7) -> list[Entry]:
    found: list[Entry] = []
    while batch := await store.read(found[-1].offset if found else 0, limit):
        assert len(batch) <= limit
        found += batch
    return found


async def test_an_empty_log_has_no_end_and_no_entries(backend: Backend) -> None:
    async with backend.open() as store:
        assert await store.end() == 0
        assert list(await store.read(0, 10)) == []
        assert (await store.append([])).offsets == ()
        assert await store.end() == 0


async def test_entries_come_back_whole_and_in_order(backend: Backend) -> None:
    batch = [
        Record(kind="feedback", key="a", payload=b""),
        Record(kind="score", key="", payload=bytes(range(256))),
        Record(kind="été", key="ключ\x00", payload=b"\x00" * 100_000),
    ]
    async with backend.open() as store:
        appended = await store.append(batch)
        offsets = [offset for offset in appended.offsets if offset is not None]
        assert appended.duplicates == 0
        assert offsets[0] >= 1
        assert offsets == sorted(set(offsets))
        entries = await read_all(store, 2)
        assert [(e.offset, e.kind, e.key, e.payload) for e in entries] == [
            (o, r.kind, r.key, r.payload) for o, r in zip(offsets, batch, strict=True)
        ]
        assert await store.end() == offsets[-1]


async def test_reading_from_any_offset_with_any_limit(backend: Backend) -> None:
    async with backend.open() as store:
        for i in range(5):
            await store.append(records(f"b{i}-", i * 3 + 1))
        everything = list(await store.read(0, 1000))
        assert len(everything) == 35
        for start in range(len(everything)):
            after = everything[start].offset - 1
            for limit in (1, 2, 9, 1000):
                assert list(await store.read(after, limit)) == everything[start : start + limit]
        assert list(await store.read(everything[-1].offset, 5)) == []
        assert list(await store.read(10**12, 5)) == []
        assert list(await store.read(0, 0)) == []


async def test_a_duplicate_is_skipped_within_a_batch_across_batches_and_across_restarts(backend: Backend) -> None:
    async with backend.open() as store:
        one, two = records("x", 2)
        first = await store.append([one, two, one, one])
        assert [offset is None for offset in first.offsets] == [False, False, True, True]
        second = await store.append([two, *records("y", 1), one])
        assert [offset is None for offset in second.offsets] == [True, False, True]
        assert second.duplicates == 2
    async with backend.open() as store:
        third = await store.append([*records("x", 3), *records("y", 1)])
        assert [offset is None for offset in third.offsets] == [True, True, False, True]
        assert [e.payload for e in await read_all(store)] == [b"x0", b"x1", b"y0", b"x2"]


async def test_a_batch_of_duplicates_alone_appends_nothing(backend: Backend) -> None:
    async with backend.open() as store:
        await store.append(records("x", 3))
        end = await store.end()
        assert (await store.append(records("x", 3))).duplicates == 3
        assert await store.end() == end


async def test_without_a_dedup_key_nothing_is_a_duplicate(backend: Backend) -> None:
    async with backend.open() as store:
        for _ in range(2):
            assert (await store.append(records("same", 3, dedup=False))).duplicates == 0
        assert len(await read_all(store)) == 6


async def test_concurrent_appends_of_the_same_records_keep_each_once(backend: Backend) -> None:
    batch = records("shared", 40)
    accepted = 0

    async def append(store: Store, part: list[Record]) -> None:
        nonlocal accepted
        appended = await store.append(part)
        accepted += len(part) - appended.duplicates

    async with backend.open() as store:
        async with trio.open_nursery() as nursery:
            for start in range(20):
                nursery.start_soon(append, store, batch[start : start + 20])
        entries = await read_all(store)
        assert accepted == len(entries) == 39
        assert len({e.payload for e in entries}) == 39


async def test_concurrent_appends_keep_the_order_inside_each_batch(backend: Backend) -> None:
    async with backend.open() as store:
        given_offsets: dict[str, list[int]] = {}

        async def append(name: str) -> None:
            got = (await store.append(records(name, 10))).offsets
            given_offsets[name] = [offset for offset in got if offset is not None]

        async with trio.open_nursery() as nursery:
            for i in range(30):
                nursery.start_soon(append, f"b{i}-")
        by_payload = {e.payload: e.offset for e in await read_all(store)}
        assert len(by_payload) == 300
        for name, offsets in given_offsets.items():
            assert offsets == sorted(offsets)
            assert offsets == [by_payload[f"{name}{i}".encode()] for i in range(10)]


async def test_a_reader_that_follows_the_end_misses_nothing(backend: Backend) -> None:
    seen: list[bytes] = []

    async def follow(store: Store) -> None:
        after = 0
        while len(seen) < 400:
            await store.wait_beyond(after)
            for entry in await store.read(after, 13):
                seen.append(entry.payload)
                after = entry.offset

    async def feed(store: Store, name: str) -> None:
        for i in range(20):
            await store.append(records(f"{name}-{i}-", 5))

    async with backend.open() as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, store)
            for name in "abcd":
                nursery.start_soon(feed, store, name)
        assert len(seen) == len(set(seen)) == 400


async def test_waiting_returns_at_once_when_the_entry_is_there(backend: Backend) -> None:
    async with backend.open() as store:
        await store.append(records("x", 2))
        end = await store.end()
        with trio.move_on_after(30) as scope:
            await store.wait_beyond(end - 1)
        assert not scope.cancelled_caught
    async with backend.open() as store:
        with trio.move_on_after(30) as scope:
            await store.wait_beyond(0)
        assert not scope.cancelled_caught
        assert await store.end() == end


async def test_waiting_goes_on_until_the_offset_is_passed(backend: Backend) -> None:
    async with backend.open() as store:
        await store.append(records("x", 1))
        end = await store.end()
        done = trio.Event()

        async def wait() -> None:
            await store.wait_beyond(end)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await store.append(records("x", 1))  # a duplicate adds nothing
            assert not done.is_set()
            await store.append(records("y", 1))
            with trio.fail_after(30):
                await done.wait()


@pytest.mark.parametrize(
    "bad",
    [
        [Record(kind="k", key="a", payload=b"", dedup=b"")],
        [Record(kind="k", key="a", payload=b"", dedup=b"x" * (NAME_BYTES + 1))],
        [Record(kind="", key="a", payload=b"")],
        [Record(kind="k", key="a" * (NAME_BYTES + 1), payload=b"")],
        [Record(kind="k", key="\ud800", payload=b"")],
        [Record(kind="k", key="a", payload=b"x" * (CALL_BYTES + 1))],
        [Record(kind="k", key="a", payload=b"")] * (APPEND_RECORDS + 1),
    ],
    ids=["empty dedup", "long dedup", "empty kind", "long key", "surrogate", "large", "many"],
)
async def test_what_the_limits_do_not_allow_is_refused_whole(backend: Backend, bad: list[Record]) -> None:
    async with backend.open() as store:
        with pytest.raises(InvalidArgument):
            await store.append([*records("good", 1), *bad])
        assert await store.end() == 0


async def test_an_answer_is_bounded_in_bytes_and_the_rest_follows(backend: Backend) -> None:
    big = [Record(kind="k", key="a", payload=bytes([i]) * 6_000_000) for i in range(5)]
    async with backend.open() as store:
        for record in big:
            await store.append([record])
        first = await store.read(0, 5)
        assert 1 <= len(first) < 5
        assert [e.payload for e in await read_all(store, 5)] == [r.payload for r in big]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=8), max_size=12))
def test_any_sequence_of_batches_agrees_with_a_plain_list(batches: list[list[tuple[int, bool]]]) -> None:
    async def check() -> None:
        state, model, known = MemoryState(), list[bytes](), set[int]()
        for batch in batches:
            async with open_memory(state) as store:
                got = await store.append(
                    [
                        Record(kind="k", key="a", payload=b"%d" % n, dedup=b"%d" % n if dedup else None)
                        for n, dedup in batch
                    ]
                )
            for (n, dedup), offset in zip(batch, got.offsets, strict=True):
                assert (offset is None) == (dedup and n in known)
                if offset is not None:
                    model.append(b"%d" % n)
                if dedup:
                    known.add(n)
        async with open_memory(state) as store:
            assert [e.payload for e in await read_all(store)] == model

    trio.run(check)
