"""02: a crash injected into each of the six services in turn; it restarts alone, with nothing else disturbed."""

import pytest
import trio

from optimizer.nurseries import Criticality, Happening, RestartLimitExceeded
from tests.tree.standins import ORDER, STARTS, STOPS, Boom, Scenario


@pytest.mark.parametrize("name", ORDER)
async def test_a_crashed_service_restarts_alone(name: str, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()

    async def body() -> None:
        scenario.services[name].crash.set()
        await trio.sleep(10)
        scenario.stop.request("test")

    await scenario.run(body)
    assert scenario.log() == [*STARTS, f"crashed {name}", f"started {name}", *STOPS]
    assert scenario.services[name].runs == 2
    assert all(scenario.services[other].runs == 1 for other in ORDER if other != name)


@pytest.mark.parametrize("name", ORDER)
async def test_above_its_intensity_a_service_is_given_up_and_the_rest_goes_on(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    scenario = Scenario()
    scenario.declare(name, criticality=Criticality.DEGRADE, revive_s=None)
    scenario.services[name].crash_at_once = 99

    async def body() -> None:
        scenario.services[name].crash.set()
        await trio.sleep(100)
        scenario.stop.request("test")

    await scenario.run(body)
    again = [f"started {name}", f"crashed {name}"]
    assert scenario.log() == [*STARTS, f"crashed {name}", *again * 3, f"given up {name}", *STOPS]


@pytest.mark.parametrize("name", ORDER)
async def test_above_its_intensity_a_critical_service_takes_the_tree_down_in_order(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    scenario = Scenario()
    scenario.declare(name, criticality=Criticality.FALL)
    scenario.services[name].crash_at_once = 99
    scenario.services[name].crash.set()
    with pytest.RaisesGroup(pytest.RaisesExc(RestartLimitExceeded, match=name), flatten_subgroups=True):
        await scenario.run()
    again = [f"started {name}", f"crashed {name}"]
    assert scenario.log()[-6:] == STOPS
    assert [line for line in scenario.log() if name in line] == [
        f"started {name}",
        f"crashed {name}",
        *again * 3,
        f"given up {name}",
        f"stopped {name}",
    ]


async def test_delays_double_from_one_second(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services["collector"].crash_at_once = 2

    async def body() -> None:
        scenario.services["collector"].crash.set()
        await trio.sleep(50)
        scenario.stop.request("test")

    await scenario.run(body)
    delays = [event.seconds for event in scenario.events if event.happening is Happening.RESTARTING]
    assert delays == [1.0, 2.0, 4.0]


async def test_a_service_that_was_given_up_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services["integrations"].crash_at_once = 3  # the attempt after it was given up succeeds

    async def body() -> None:
        scenario.services["integrations"].crash.set()
        await trio.sleep(200)
        assert scenario.house.supervisors["integrations"].serving
        scenario.stop.request("test")

    await scenario.run(body)
    kinds = [line.split(" integrations")[0] for line in scenario.log() if "integrations" in line]
    assert kinds[-4:] == ["crashed", "given up", "started", "stopped"]


@pytest.mark.parametrize("name", ORDER)
async def test_a_crash_while_draining_is_reported_and_not_repaired(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    scenario = Scenario()

    async def crash_instead_of_draining(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await scenario.services[name].leave.wait()
        raise Boom(name)

    scenario.declare(name, run=crash_instead_of_draining)

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    log = scenario.log()
    assert log.count(f"crashed {name}") == 1
    log.remove(f"crashed {name}")
    assert log == STARTS + STOPS
