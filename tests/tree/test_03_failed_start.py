"""03: a start that fails in each position is the starter's error; what had started stops in reverse."""

import pytest
import trio

from optimizer.nurseries import StartFailed
from tests.tree.standins import ORDER, Boom, Scenario


@pytest.mark.parametrize("position", range(len(ORDER)))
async def test_failed_start_in_each_position(position: int, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    name = ORDER[position]
    scenario.services[name].start_error = Boom("no room")
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartFailed, match=name, check=lambda e: isinstance(e.__cause__, Boom)),
        flatten_subgroups=True,
    ):
        await scenario.run()
    before = ORDER[:position]
    assert scenario.log() == [
        *(f"started {n}" for n in before),
        f"crashed {name}",
        *(f"stopped {n}" for n in reversed(before)),
    ]


@pytest.mark.parametrize("name", ORDER)
async def test_a_service_that_returns_before_it_started_failed_to_start(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    scenario = Scenario()

    async def return_early(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)

    scenario.declare(name, run=return_early)
    with pytest.RaisesGroup(pytest.RaisesExc(StartFailed, match=name), flatten_subgroups=True):
        await scenario.run()
    assert f"started {name}" not in scenario.log()
