"""One supervised service: restart types, intensity over a sliding period, recycling."""

import random

import pytest
import trio

from optimizer.nurseries import (
    Backoff,
    Criticality,
    Happening,
    Intensity,
    Restart,
    RestartLimitExceeded,
    ServiceEvent,
    ServiceSpec,
    Supervisor,
)
from optimizer.nurseries.supervisor import UnexpectedExit


class Boom(Exception):
    """A crash."""


class Service:
    """Starts, works for some seconds, then returns or crashes, as its script says."""

    def __init__(self, *script: tuple[float, bool]) -> None:
        self.script = list(script)
        self.runs: list[float] = []

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.runs.append(trio.current_time())
        task_status.started()
        if not self.script:
            await trio.sleep_forever()
        seconds, crash = self.script.pop(0)
        await trio.sleep(seconds)
        if crash:
            raise Boom


def supervised(service: Service, events: list[ServiceEvent], **changes: object) -> Supervisor:
    """A supervisor with an undisturbed backoff."""
    declared: dict[str, object] = {"name": "it", "run": service.run, "backoff": Backoff(jitter=0.0), **changes}
    return Supervisor(ServiceSpec(**declared), observe=events.append, rng=random.Random(0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("restart", "crash", "runs"),
    [
        (Restart.PERMANENT, True, 2),
        (Restart.PERMANENT, False, 2),
        (Restart.TRANSIENT, True, 2),
        (Restart.TRANSIENT, False, 1),
        (Restart.TEMPORARY, True, 1),
        (Restart.TEMPORARY, False, 1),
    ],
)
async def test_restart_types(restart: Restart, crash: bool, runs: int, autojump_clock: trio.testing.MockClock) -> None:
    service, events = Service((1, crash)), list[ServiceEvent]()
    with trio.move_on_after(100):
        await supervised(service, events, restart=restart).run()
    assert len(service.runs) == runs


async def test_a_permanent_service_that_returns_has_crashed(autojump_clock: trio.testing.MockClock) -> None:
    events: list[ServiceEvent] = []
    with trio.move_on_after(3):
        await supervised(Service((1, False)), events).run()
    crash = next(event for event in events if event.happening is Happening.CRASHED)
    assert isinstance(crash.error, UnexpectedExit)


async def test_a_crash_of_the_first_start_is_raised_unwrapped(autojump_clock: trio.testing.MockClock) -> None:
    async def fail(*, task_status: trio.TaskStatus[None]) -> None:
        raise Boom

    supervisor = Supervisor(ServiceSpec(name="it", run=fail), observe=lambda _: None, rng=random.Random(0))
    with pytest.raises(Boom):
        await supervisor.run()


async def test_a_failed_restart_counts_as_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []

    async def fail_later(*, task_status: trio.TaskStatus[None]) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            task_status.started()
        raise Boom

    spec = ServiceSpec(name="it", run=fail_later, backoff=Backoff(jitter=0.0), criticality=Criticality.FALL)
    with pytest.raises(RestartLimitExceeded):
        await Supervisor(spec, observe=lambda _: None, rng=random.Random(0)).run()
    assert starts == [0, 1, 3, 7]


async def test_old_restarts_are_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """Ten crashes, 30 s apart, never exceed three restarts in 60 s."""
    service, events = Service(*[(30, True)] * 10), list[ServiceEvent]()
    with trio.move_on_after(1000):
        await supervised(service, events, criticality=Criticality.FALL).run()
    assert len(service.runs) == 11


async def test_intensity_is_more_than(autojump_clock: trio.testing.MockClock) -> None:
    """OTP: more than `restarts` within the period, so exactly that many are still fine."""
    for crashes, falls in ((2, False), (3, True)):
        service, events = Service(*[(0, True)] * crashes), list[ServiceEvent]()
        fell = False
        with trio.move_on_after(50):
            try:
                await supervised(service, events, criticality=Criticality.FALL, intensity=Intensity(restarts=2)).run()
            except RestartLimitExceeded:
                fell = True
        assert fell is falls


async def test_a_service_told_to_stop_during_its_backoff_does_not_start_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leave = trio.Event()
    service, events = Service((1, True)), list[ServiceEvent]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised(service, events, leave=leave, backoff=Backoff(base_s=60, jitter=0.0)).run)
        await trio.sleep(5)
        leave.set()
    assert trio.current_time() == 5
    assert len(service.runs) == 1


async def test_recycling_counts_as_a_crash_and_restarts(autojump_clock: trio.testing.MockClock) -> None:
    service, events = Service(), list[ServiceEvent]()
    supervisor = supervised(service, events)
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await trio.sleep(2)
            supervisor.recycle("probe failed")
            await trio.sleep(0.5)
            assert not supervisor.serving
            supervisor.recycle("while it is down, this is nothing")
    assert service.runs == [0, 3]
    crash = next(event for event in events if event.happening is Happening.CRASHED)
    assert "probe failed" in str(crash.error)


async def test_cancellation_passes_through(autojump_clock: trio.testing.MockClock) -> None:
    service, events = Service(), list[ServiceEvent]()
    with trio.move_on_after(1) as scope:
        await supervised(service, events).run()
    assert scope.cancelled_caught
    assert [event.happening for event in events] == [Happening.STARTING, Happening.STARTED]


async def test_a_crash_on_the_way_out_of_a_cancellation_is_told_and_goes_no_further(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Found by the simulation: a service that fails while it is being cancelled ended the whole process."""

    async def fail_when_cancelled(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started()
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Boom

    events: list[ServiceEvent] = []
    spec = ServiceSpec(name="it", run=fail_when_cancelled)
    with trio.move_on_after(1) as scope:
        await Supervisor(spec, observe=events.append, rng=random.Random(0)).run()
    assert scope.cancelled_caught
    crashes = [event.error for event in events if event.happening is Happening.CRASHED]
    assert len(crashes) == 1
    assert isinstance(crashes[0], ExceptionGroup)


async def test_an_error_group_is_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    runs: list[int] = []

    async def crash_in_a_nursery(*, task_status: trio.TaskStatus[None]) -> None:
        runs.append(1)
        async with trio.open_nursery() as nursery:
            task_status.started()
            if len(runs) > 1:
                await trio.sleep_forever()
            nursery.start_soon(fail)

    async def fail() -> None:
        raise Boom

    spec = ServiceSpec(name="it", run=crash_in_a_nursery)
    with trio.move_on_after(10):
        await Supervisor(spec, observe=lambda _: None, rng=random.Random(0)).run()
    assert len(runs) == 2


async def test_started_twice_in_one_run_is_a_bug_of_the_service(autojump_clock: trio.testing.MockClock) -> None:
    async def start_twice(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    events: list[ServiceEvent] = []
    spec = ServiceSpec(name="it", run=start_twice, restart=Restart.TEMPORARY)
    await Supervisor(spec, observe=events.append, rng=random.Random(0)).run()
    assert "twice" in str(next(e for e in events if e.happening is Happening.CRASHED).error)
