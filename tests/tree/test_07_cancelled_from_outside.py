"""07: cancelled from outside, the tree still stops in the exact reverse order, without draining."""

import pytest
import trio

from tests.tree.standins import ORDER, STARTS, STOPS, Scenario


async def test_exact_order_when_cancelled_from_outside(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    for name in ORDER:
        scenario.services[name].drain_s = 5
    with trio.move_on_after(10) as scope:
        await scenario.run()
    assert scope.cancelled_caught
    assert trio.current_time() - scenario.stop.after(0) == 0
    assert scenario.log() == STARTS + STOPS


@pytest.mark.parametrize("slow", ORDER)
async def test_exact_order_when_one_needs_time_to_unwind(slow: str, autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services[slow].stubborn_s = 0.5
    with trio.move_on_after(10):
        await scenario.run()
    assert scenario.log() == STARTS + STOPS


async def test_cancelled_while_draining(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    for name in ORDER:
        scenario.services[name].drain_s = 3

    async def body() -> None:
        scenario.stop.request("test")

    with trio.move_on_after(1):
        await scenario.run(body)
    assert scenario.log() == STARTS + STOPS


async def test_an_error_of_the_body_stops_everything_in_order(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()

    async def body() -> None:
        await trio.sleep(1)
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await scenario.run(body)
    assert scenario.log() == STARTS + STOPS
