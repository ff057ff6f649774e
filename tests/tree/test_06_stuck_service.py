"""06: a service that does not stop in its share is named with its stack, and order still holds."""

import pytest
import trio

from optimizer.nurseries import Grace
from tests.tree.standins import EDGES, ORDER, STARTS, STOPS, Scenario


@pytest.mark.parametrize("name", ORDER)
async def test_a_slow_drain_is_cancelled_inside_its_share(name: str, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[name].drain_s = 1000
    began = trio.current_time()

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    share = 10 if name in EDGES else 20 if name == "storage" else 18
    assert trio.current_time() - began == share - scenario.stop.grace.unwind_s
    assert scenario.log() == STARTS + STOPS
    assert not scenario.house.unstopped


@pytest.mark.parametrize("name", ORDER)
async def test_a_stuck_service_is_reported_with_its_stack(name: str, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[name].drain_s = 1000
    scenario.services[name].stubborn_s = 13

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    assert [report.service for report in scenario.house.unstopped] == [name]
    assert "standins.py" in scenario.house.unstopped[0].stack
    log = scenario.log()
    log.remove(f"unstopped {name}")
    assert log == STARTS + STOPS


async def test_two_stuck_services_are_both_reported(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    for name in ("grpc_api", "collector"):
        scenario.services[name].stubborn_s = 12

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    assert [report.service for report in scenario.house.unstopped] == ["grpc_api", "collector"]
    log = [line for line in scenario.log() if not line.startswith("unstopped")]
    assert log == STARTS + STOPS


async def test_at_the_end_of_the_grace_time_everything_else_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The store still gets to close although an edge hangs: order no longer counts, being closed does."""
    scenario = Scenario(Grace(tree_s=25))
    scenario.services["rest_api"].stubborn_s = 40
    ended: dict[str, float] = {}

    async def remember_end(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            ended["storage"] = trio.current_time() - scenario.stop.after(0)

    scenario.declare("storage", run=remember_end)

    async def body() -> None:
        scenario.stop.request("test")
        await trio.sleep_until(scenario.stop.after(25))
        scenario.house.cancel_everything()

    await scenario.run(body)
    assert ended == {"storage": 25}
    assert "unstopped rest_api" in scenario.log()
