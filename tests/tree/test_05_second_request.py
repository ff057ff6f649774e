"""05: the second request cancels what still drains, at once and in order."""

import signal

import pytest
import trio

from optimizer.nurseries.stop import watch_signals
from tests.tree.standins import ORDER, STARTS, STOPS, Scenario


@pytest.mark.parametrize("slow", ORDER)
async def test_second_request_cuts_the_drain(slow: str, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[slow].drain_s = 9
    began = trio.current_time()

    async def body() -> None:
        scenario.stop.request("first")
        await trio.sleep(2)
        scenario.stop.hurry("second")

    await scenario.run(body)
    assert trio.current_time() - began == 2
    assert scenario.log() == STARTS + STOPS
    assert not scenario.house.unstopped


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_signals_request_and_hurry(first: signal.Signals) -> None:
    scenario = Scenario()
    scenario.services["processor"].drain_s = 1000
    reloads: list[int] = []

    async def body() -> None:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(first)
        await scenario.stop.draining.wait()
        assert scenario.stop.reason == first.name
        signal.raise_signal(signal.SIGTERM)

    async with trio.open_nursery() as nursery:

        async def watch(*, task_status: trio.TaskStatus[None]) -> None:
            await watch_signals(scenario.stop, reload=lambda: reloads.append(1), task_status=task_status)

        await nursery.start(watch)
        await scenario.run(body)
        nursery.cancel_scope.cancel()
    assert scenario.stop.hurried.is_set()
    assert reloads == [1]
    assert scenario.log() == STARTS + STOPS
