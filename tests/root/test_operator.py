"""What operators do, and what the process tells about itself."""

import logging
import math

import pytest
import trio

from optimizer.bus import Latest, Overflow, Topic
from optimizer.config import Settings
from optimizer.model import InvalidArgument, SystemNotice
from optimizer.nurseries.health import HealthBoard
from optimizer.nurseries.policy import ServiceSpec
from optimizer.nurseries.stop import Stop
from optimizer.nurseries.supervisor import Happening, ServiceEvent
from optimizer.observability import make_metrics
from optimizer.root import Reloader
from optimizer.root.notices import tell
from optimizer.root.operator import Operator


def operator(stop: Stop) -> Operator:
    reloader = Reloader(Latest(Settings()), Settings, make_metrics())
    return Operator(stop, reloader, None)


async def test_a_shutdown_without_a_time_only_drains(autojump_clock: trio.testing.MockClock) -> None:
    stop = Stop()
    operator(stop).shut_down("test", None)
    with trio.move_on_after(1000):
        await stop.run_limit()
    assert stop.requested.is_set()
    assert not stop.hurried.is_set()
    assert stop.reason == "test"


async def test_the_earliest_limit_hurries(autojump_clock: trio.testing.MockClock) -> None:
    stop, began = Stop(), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop.run_limit)
        await trio.testing.wait_all_tasks_blocked()
        operator(stop).shut_down("test", 20)
        operator(stop).shut_down("again", 5)
        operator(stop).shut_down("again", 50)
    assert stop.hurried.is_set()
    assert math.isclose(trio.current_time() - began, 5)


async def test_a_reload_says_what_changed() -> None:
    assert not operator(Stop()).reload()


async def test_log_levels_by_module() -> None:
    name = "optimizer.test_operator"
    try:
        before = operator(Stop()).set_log_level("debug", name)
        assert logging.getLogger(name).level == logging.DEBUG
        assert operator(Stop()).set_log_level("error", name) == "debug"
        assert before in ("warn", "info")
        with pytest.raises(InvalidArgument):
            operator(Stop()).set_log_level("loud", name)
    finally:
        logging.getLogger(name).setLevel(logging.NOTSET)


async def test_states_and_settings_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    board, topic = HealthBoard(), Topic[SystemNotice]("system")
    board.declare([ServiceSpec(name="collector", run=run)])
    cell = Latest(Settings())
    async with trio.open_nursery() as nursery:
        with topic.subscribe(10, Overflow.DROP) as heard:
            await nursery.start(tell, board, cell, topic, lambda: 7)
            await trio.testing.wait_all_tasks_blocked()
            board.observe(ServiceEvent(service="collector", happening=Happening.STARTED, at=0))
            first = await heard.receive()
            error = RuntimeError("boom")
            board.observe(ServiceEvent(service="collector", happening=Happening.CRASHED, at=0, error=error))
            second = await heard.receive()
            cell.set(Settings.model_validate({"observability": {"log_level": "debug"}}))
            third = await heard.receive()
            cell.set(cell.get())
            await trio.testing.wait_all_tasks_blocked()
            assert heard.depth() == 0
        nursery.cancel_scope.cancel()
    assert (first.event_type, first.severity, first.metadata["state"], first.at) == (
        "service.state",
        "info",
        "Running",
        7,
    )
    assert (second.severity, "boom" in second.message) == ("warning", True)
    assert (third.event_type, third.message) == ("config.changed", "observability.log_level: info -> debug")
