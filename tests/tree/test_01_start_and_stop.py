"""01: all six start in dependency order and stop in the exact reverse, whatever each needs to drain."""

import trio

from tests.tree.standins import ORDER, STARTS, STOPS, Scenario


async def test_start_order_and_exact_reverse(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()

    async def body() -> None:
        await trio.sleep(5)
        scenario.stop.request("test")

    await scenario.run(body)
    assert scenario.log() == STARTS + STOPS


async def test_order_holds_when_outer_services_drain_faster(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    for seconds, name in enumerate(ORDER):
        scenario.services[name].drain_s = seconds * 0.5  # the innermost is the slowest

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    assert scenario.log() == STARTS + STOPS
    assert not scenario.house.unstopped


async def test_edges_drain_at_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario()
    scenario.services["rest_api"].drain_s = 4
    scenario.services["grpc_api"].drain_s = 4
    began = trio.current_time()

    async def body() -> None:
        scenario.stop.request("test")

    await scenario.run(body)
    assert trio.current_time() - began == 4
    assert scenario.log() == STARTS + STOPS
