"""08: readiness is false at once, accepting ends after the lame-duck time, a second request ends that time."""

import trio

from optimizer.nurseries import Grace, HealthBoard
from tests.tree.standins import STARTS, STOPS, Scenario


async def test_not_ready_at_once_and_draining_later(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario(Grace(lame_duck_s=3))
    board = HealthBoard(scenario.specs)
    scenario.house.observe = board.observe
    scenario.stop.on_request(board.close)

    async def body() -> None:
        board.open()
        assert board.ready()
        scenario.stop.request("test")
        assert not board.ready()
        assert board.status() == "healthy"
        await trio.sleep(2.9)
        assert not scenario.stop.draining.is_set()
        assert all(service.healthy for service in board.services().values())
        await trio.sleep(0.2)
        assert scenario.stop.draining.is_set()

    await scenario.run(body)
    assert {str(service.state) for service in board.services().values()} == {"Stopped"}


async def test_a_second_request_ends_the_lame_duck_time(autojump_clock: trio.testing.MockClock) -> None:
    scenario = Scenario(Grace(lame_duck_s=8))
    began = trio.current_time()

    async def body() -> None:
        scenario.stop.request("first")
        await trio.sleep(1)
        scenario.stop.hurry("second")

    await scenario.run(body)
    assert trio.current_time() - began == 1
    assert scenario.log() == STARTS + STOPS
