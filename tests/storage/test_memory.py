"""What only the store in memory does: injected faults around the writes, as a simulator needs them."""

import pytest
import trio

from optimizer.model import StorageUnavailable
from optimizer.storage import Cursor, MemoryState, Moment, Put, Record, open_memory

EVENT = Record(kind="k", key="a", payload=b"x", dedup=b"1")


def fail_at(moment: Moment) -> "Fault":
    return Fault(moment)


class Fault:
    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.seen: list[Moment] = []

    async def __call__(self, moment: Moment) -> None:
        self.seen.append(moment)
        if moment == self.moment:
            raise StorageUnavailable("injected")


async def test_a_fault_before_the_append_loses_it() -> None:
    state = MemoryState()
    async with open_memory(state, faults=fail_at("before_append")) as store:
        with pytest.raises(StorageUnavailable):
            await store.append([EVENT])
    assert state.entries == []


async def test_a_fault_after_the_append_loses_the_answer_alone() -> None:
    state, fault = MemoryState(), fail_at("after_append")
    async with open_memory(state, faults=fault) as store:
        with pytest.raises(StorageUnavailable):
            await store.append([EVENT])
    assert fault.seen == ["before_append", "after_append"]
    async with open_memory(state) as store:
        assert (await store.append([EVENT])).duplicates == 1
        assert await store.end() == 1


@pytest.mark.parametrize(("moment", "offset"), [("before_commit", 0), ("after_commit", 5)])
async def test_a_fault_around_a_commit_keeps_it_whole_or_not_at_all(moment: Moment, offset: int) -> None:
    state = MemoryState()
    async with open_memory(state, faults=fail_at(moment)) as store:
        with pytest.raises(StorageUnavailable):
            await store.commit([Put(key="a", body=b"x")], Cursor(name="fold", offset=5))
    async with open_memory(state) as store:
        assert await store.cursor("fold") == offset
        assert (await store.get("a") is not None) == (offset == 5)


async def test_a_cancelled_call_did_not_happen() -> None:
    async with open_memory() as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.append([EVENT])
        assert scope.cancelled_caught
        assert await store.end() == 0
