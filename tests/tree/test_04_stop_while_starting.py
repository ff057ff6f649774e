"""04: the stop is requested, or the tree is cancelled, while a service is starting."""

import pytest
import trio

from optimizer.nurseries import StopRequested
from tests.tree.standins import ORDER, Scenario


@pytest.mark.parametrize("position", range(len(ORDER)))
async def test_stop_requested_while_starting(position: int, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[ORDER[position]].start_s = 100

    async def request() -> None:
        await trio.sleep(50)
        scenario.stop.request("test")

    with pytest.RaisesGroup(StopRequested, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            await scenario.run()
    assert trio.current_time() - scenario.house.stop.after(0) < 1
    before = ORDER[:position]
    assert scenario.log() == [*(f"started {n}" for n in before), *(f"stopped {n}" for n in reversed(before))]


@pytest.mark.parametrize("position", range(len(ORDER)))
async def test_cancelled_while_starting(position: int, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[ORDER[position]].start_s = 100
    with trio.move_on_after(50) as scope:
        await scenario.run()
    assert scope.cancelled_caught
    before = ORDER[:position]
    assert scenario.log() == [*(f"started {n}" for n in before), *(f"stopped {n}" for n in reversed(before))]


@pytest.mark.parametrize("position", range(len(ORDER)))
async def test_cancelled_in_the_very_moment_of_the_start(position: int, autojump_clock: trio.testing.MockClock) -> None:
    """`started()` inside a cancelled start must not leave a shielded task that nobody can reach."""
    scenario = Scenario()
    outer = trio.CancelScope()

    async def start_when_cancelled(*, task_status: trio.TaskStatus[None]) -> None:
        outer.cancel()
        task_status.started()
        await trio.sleep_forever()

    scenario.declare(ORDER[position], run=start_when_cancelled)
    with trio.fail_after(5), outer:
        await scenario.run()
    assert outer.cancelled_caught
    started = [line for line in scenario.log() if line.startswith("started")]
    stopped = [line for line in scenario.log() if line.startswith("stopped")]
    assert stopped == [line.replace("started", "stopped") for line in reversed(started)]
