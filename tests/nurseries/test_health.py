"""The health board: states, thresholds, statuses that mean what they say, and the founding document's JSON."""

import random

import pytest
import trio

from optimizer.nurseries import (
    Backoff,
    Criticality,
    HealthBoard,
    Probe,
    ServiceSpec,
    Stage,
    State,
    Supervisor,
    Verdict,
)
from optimizer.nurseries.health import run_probes
from optimizer.nurseries.supervisor import Happening, ServiceEvent


async def serve(*, task_status: trio.TaskStatus[None]) -> None:
    """Serve for ever."""
    task_status.started()
    await trio.sleep_forever()


SPECS = [
    ServiceSpec(name="vital", run=serve, criticality=Criticality.FALL),
    ServiceSpec(name="extra", run=serve, criticality=Criticality.DEGRADE),
]


def tell(board: HealthBoard, service: str, *happenings: Happening) -> None:
    for happening in happenings:
        error = ValueError("why") if happening is Happening.CRASHED else None
        board.observe(ServiceEvent(service=service, happening=happening, at=trio.current_time(), error=error))


def running() -> HealthBoard:
    board = HealthBoard(SPECS)
    for name in ("vital", "extra"):
        tell(board, name, Happening.STARTING, Happening.STARTED)
    board.open()
    return board


async def test_json_shape_of_the_founding_document(autojump_clock: trio.testing.MockClock) -> None:
    board = running()
    await trio.sleep(3600)
    assert board.report() == {
        "status": "healthy",
        "uptime_secs": 3600,
        "services": {
            name: {"state": "Running", "healthy": True, "consecutive_failures": 0, "message": None, "metadata": {}}
            for name in ("vital", "extra")
        },
    }


async def test_not_ready_before_everything_started() -> None:
    board = HealthBoard(SPECS)
    assert board.service("vital").state is State.INITIALIZING
    assert not board.ready()
    assert board.status() == "unhealthy"


@pytest.mark.parametrize(("name", "status", "ready"), [("vital", "unhealthy", False), ("extra", "degraded", True)])
async def test_a_crash_shows_until_the_restart(name: str, status: str, ready: bool) -> None:
    board = running()
    tell(board, name, Happening.CRASHED, Happening.RESTARTING, Happening.STARTING)
    assert (board.status(), board.ready()) == (status, ready)
    assert board.service(name).state is State.DEGRADED
    assert "ValueError: why" in str(board.service(name).message)
    tell(board, name, Happening.STARTED)
    assert (board.status(), board.ready()) == ("healthy", True)
    assert board.service(name).message is None


async def test_not_ready_while_an_edge_is_down_although_only_degraded() -> None:
    """Found by the simulation: requests were refused while readiness was true."""
    board = HealthBoard([*SPECS, ServiceSpec(name="door", run=serve, stage=Stage.EDGE)])
    for name in ("vital", "extra", "door"):
        tell(board, name, Happening.STARTING, Happening.STARTED)
    board.open()
    assert board.ready()
    tell(board, "door", Happening.CRASHED, Happening.RESTARTING)
    assert (board.status(), board.ready()) == ("degraded", False)
    tell(board, "door", Happening.STARTED)
    assert board.ready()


async def test_given_up_is_failed_until_revived() -> None:
    board = running()
    tell(board, "extra", Happening.CRASHED, Happening.GIVEN_UP, Happening.STARTING)
    assert board.service("extra").state is State.FAILED
    assert board.status() == "degraded"
    tell(board, "extra", Happening.STARTED)
    assert board.status() == "healthy"


async def test_shutting_down_is_not_a_failure() -> None:
    board = running()
    board.close()
    assert not board.ready()
    tell(board, "extra", Happening.LEAVING)
    assert board.service("extra").state is State.SHUTTING_DOWN
    tell(board, "extra", Happening.STOPPED)
    assert board.service("extra").state is State.STOPPED
    assert board.status() == "healthy"


async def test_probes_have_a_threshold_and_degraded_is_no_failure() -> None:
    board = running()
    failing = Probe(verdict=Verdict.FAILING, message="slow", metadata={"queue": "9"})
    assert [board.judge("vital", failing) for _ in range(4)] == [False, False, True, False]
    assert board.service("vital").consecutive_failures == 4
    assert board.status() == "unhealthy"
    board.judge("vital", Probe(verdict=Verdict.DEGRADED, message="database away"))
    assert board.status() == "degraded"
    assert board.service("vital").consecutive_failures == 0
    assert board.ready()
    board.judge("vital", Probe(metadata={"queue": "0"}))
    assert board.status() == "healthy"
    assert board.service("vital").metadata == {"queue": "0"}


async def test_changes_wake_a_watcher(autojump_clock: trio.testing.MockClock) -> None:
    board = running()
    seen = board.changes.version
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.changes.wait_beyond, seen)
            await trio.testing.wait_all_tasks_blocked()
            tell(board, "extra", Happening.CRASHED)
    assert board.status() == "degraded"


async def test_a_service_that_fails_three_probes_is_restarted(autojump_clock: trio.testing.MockClock) -> None:
    board = running()
    starts: list[float] = []
    answers = {"fail": False, "hang": False}

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        starts.append(trio.current_time())
        task_status.started()
        await trio.sleep_forever()

    async def probe() -> Probe:
        if len(starts) > 1:
            return Probe()
        if answers["hang"]:
            await trio.sleep_forever()
        if answers["fail"]:
            raise ValueError("no answer from the queue")
        return Probe()

    spec = ServiceSpec(name="extra", run=run, probe=probe, backoff=Backoff(jitter=0.0))
    supervisor = Supervisor(spec, observe=board.observe, rng=random.Random(0))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status=task_status))
        nursery.start_soon(lambda: run_probes({"extra": probe}, board, {"extra": supervisor}, interval_s=30))
        await trio.sleep(31)
        assert board.service("extra").consecutive_failures == 0
        answers["hang"] = True
        await trio.sleep(30 + 6)
        assert "no answer within 5 s" in str(board.service("extra").message)
        answers.update(hang=False, fail=True)
        await trio.sleep(30)
        assert board.service("extra").consecutive_failures == 2
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert len(starts) == 2
    assert board.service("extra").state is State.RUNNING
