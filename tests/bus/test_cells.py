"""Latest and Slot."""

import pytest
import trio

from optimizer.bus import Latest, Slot
from optimizer.model import Unavailable


async def test_latest_holds_the_newest_value() -> None:
    cell = Latest("a")
    assert (cell.get(), cell.version) == ("a", 0)
    cell.set("b")
    assert (cell.get(), cell.version) == ("b", 1)
    assert await cell.wait_beyond(0) == ("b", 1)


async def test_a_waiter_sees_the_last_state_and_may_miss_ones_between() -> None:
    cell = Latest(0)
    seen: list[int] = []

    async def watch() -> None:
        version = 0
        while not seen or seen[-1] != 9:
            value, version = await cell.wait_beyond(version)
            seen.append(value)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            cell.set(1)
            cell.set(2)
            await trio.testing.wait_all_tasks_blocked()
            cell.set(9)
    assert seen == [2, 9]


async def test_setting_an_equal_value_is_a_change_too() -> None:
    cell = Latest(0)
    cell.set(0)
    assert await cell.wait_beyond(0) == (0, 1)


async def test_slot_names_the_service_that_is_down() -> None:
    slot = Slot[int]("storage")
    with pytest.raises(Unavailable, match="storage"):
        slot.get()
    assert slot.peek() is None
    with slot.provide(7):
        assert (slot.get(), slot.peek()) == (7, 7)
    with pytest.raises(Unavailable):
        slot.get()


async def test_slot_is_emptied_by_a_crash_and_filled_by_the_restart() -> None:
    slot = Slot[int]("storage")
    with pytest.raises(ZeroDivisionError), slot.provide(1):
        raise ZeroDivisionError
    got: list[int] = []

    async def wait() -> None:
        got.append(await slot.ready())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            with slot.provide(2):
                await trio.testing.wait_all_tasks_blocked()
    assert got == [2]


async def test_a_value_that_was_there_too_briefly_is_waited_for_again() -> None:
    slot = Slot[int]("storage")
    got: list[int] = []

    async def wait() -> None:
        got.append(await slot.ready())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with slot.provide(1):
                pass
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            with slot.provide(2):
                await trio.testing.wait_all_tasks_blocked()
    assert got == [2]


async def test_two_providers_are_a_bug() -> None:
    slot = Slot[int]("storage")
    with slot.provide(1), pytest.raises(RuntimeError, match="storage"), slot.provide(2):
        pass
