"""The crossing to asyncio: results, errors, cancellation, exits, and what libraries leave behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio

from optimizer import bridge as bridge_module
from optimizer.bridge import open_bridge
from optimizer.model import Unavailable


async def double(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def test_a_result_crosses() -> None:
    async with open_bridge() as bridge:
        assert await bridge.run(double, 21) == 42
        assert await bridge.run(double, n=4) == 8


async def test_many_tasks_cross_at_once_also_from_outside_the_bridge_s_block() -> None:
    results: list[int] = []

    async def work(n: int) -> None:
        results.append(await bridge.run(double, n))

    async with trio.open_nursery() as outside, open_bridge() as bridge, trio.open_nursery() as inside:
        for n in range(50):
            (inside if n % 2 else outside).start_soon(work, n)
        while len(results) < 50:
            await trio.lowlevel.checkpoint()
    assert sorted(results) == [2 * n for n in range(50)]


async def test_an_error_of_the_operation_crosses_as_itself() -> None:
    async with open_bridge() as bridge:
        with pytest.raises(KeyError, match="gone"):
            await bridge.run(fail, KeyError("gone"))
        with pytest.raises(TimeoutError):
            await bridge.run(asyncio.wait_for, asyncio.Event().wait(), 0.001)


async def test_an_error_of_the_body_leaves_as_itself() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_bridge():
            raise ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        async with open_bridge() as bridge:
            await bridge.run(fail, ValueError("mine"))


async def test_asyncio_s_cancellation_never_crosses() -> None:
    async with open_bridge() as bridge:
        with pytest.raises(Unavailable, match="cancelled by the library"):
            await bridge.run(fail, asyncio.CancelledError())


async def test_cancelling_ends_the_operation_before_the_caller_goes_on() -> None:
    ended: list[str] = []

    async def operation() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("operation")

    async with open_bridge() as bridge:
        with trio.move_on_after(0.01) as scope:
            try:
                await bridge.run(operation)
            finally:
                ended.append("caller")
        assert scope.cancelled_caught
        assert ended == ["operation", "caller"]
        assert await bridge.run(double, 1) == 2


async def test_an_operation_that_refuses_once_is_asked_again() -> None:
    refusals = 0

    async def refuse() -> None:
        nonlocal refusals
        while refusals < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refusals += 1
        await asyncio.Event().wait()

    async with open_bridge() as bridge:
        with trio.move_on_after(0.01) as scope:
            await bridge.run(refuse)
        assert scope.cancelled_caught
        assert refusals == 2


async def test_an_operation_that_never_ends_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "CANCEL_S", 0.05)
    monkeypatch.setattr(bridge_module, "CLOSE_S", 0.05)
    monkeypatch.setattr(bridge_module, "_AGAIN_S", 0.01)
    release = False

    async def refuse() -> None:
        while not release:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    with structlog.testing.capture_logs() as logs:
        async with open_bridge() as bridge:
            with trio.move_on_after(0.01) as scope:
                await bridge.run(refuse)
            assert scope.cancelled_caught
        release = True
        gc.collect()  # asyncio reports the abandoned task when it goes: here, not in a later test
    assert [entry["event"] for entry in logs][:2] == ["bridge_cancel_timeout", "bridge_task_left"]


async def test_a_background_failure_is_logged_and_counted_and_ends_nothing() -> None:
    async def leave_a_failing_callback() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)

    with structlog.testing.capture_logs() as logs:
        async with open_bridge() as bridge:
            await bridge.run(leave_a_failing_callback)
            assert await bridge.run(double, 3) == 6
            assert bridge.failures == 1
    assert [entry["event"] for entry in logs] == ["asyncio_background_failure"]
    assert "ZeroDivisionError" in logs[0]["error"]


async def test_tasks_left_behind_end_with_the_bridge() -> None:
    ended = asyncio.Event()

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    kept: list[asyncio.Task[None]] = []

    async def leave() -> None:
        kept.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    async with open_bridge() as bridge:
        await bridge.run(leave)
    assert kept[0].cancelled()
    assert ended.is_set()


class Resource:
    """An asyncio resource that notes what happens to it."""

    def __init__(self, exit_error: Exception | None = None, *, hang: bool = False) -> None:
        asyncio.get_running_loop()  # as aiokafka: needs one to be built
        self.events: list[str] = []
        self.exit_error = exit_error
        self.hang = hang

    @asynccontextmanager
    async def manage(self) -> AsyncIterator["Resource"]:
        self.events.append("enter")
        await asyncio.sleep(0)
        yield self
        if self.hang:
            await asyncio.Event().wait()
        if self.exit_error is not None:
            raise self.exit_error
        self.events.append("exit")


async def test_a_resource_is_left_even_when_its_user_is_cancelled() -> None:
    async with open_bridge() as bridge:
        with trio.CancelScope() as scope:
            async with bridge.opened(lambda: Resource().manage()) as resource:
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert resource.events == ["enter", "exit"]


async def test_a_failing_exit_is_logged_and_hides_nothing() -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_bridge() as bridge:
            with pytest.raises(ValueError, match="body"):
                async with bridge.opened(lambda: Resource(OSError("exit")).manage()):
                    raise ValueError("body")
    assert [entry["event"] for entry in logs] == ["bridge_exit_failed"]


async def test_an_exit_that_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "CLOSE_S", 0.05)
    with structlog.testing.capture_logs() as logs:
        async with open_bridge() as bridge:
            async with bridge.opened(lambda: Resource(hang=True).manage()) as resource:
                pass
            assert resource.events == ["enter"]
    assert [entry["event"] for entry in logs] == ["bridge_exit_timeout"]


async def test_a_closed_bridge_refuses() -> None:
    async with open_bridge() as bridge:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await bridge.run(double, 1)
