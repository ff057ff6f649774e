"""The queue before the writer: bounds, order, cancellation at every stage, closing."""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from optimizer.storage import Appended, Record, Store, open_embedded
from optimizer.storage import intake as intake_module
from optimizer.storage.embedded.writer import Writer
from optimizer.storage.intake import Append, Intake


def job(size: int = 1) -> Append:
    return Append([Record(kind="k", key="a", payload=b"")], size)


async def test_jobs_leave_in_the_order_of_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "GROUP_BYTES", 10)
    intake, jobs = Intake(), [job(4) for _ in range(7)]
    async with trio.open_nursery() as nursery:
        for each in jobs:
            nursery.start_soon(intake.submit, each)
            await wait_all_tasks_blocked()
        await intake.wait()
        assert [intake.take(), intake.take(), intake.take(), intake.take()] == [
            jobs[:2],
            jobs[2:4],
            jobs[4:6],
            jobs[6:],
        ]
        assert intake.take() == []
        for each in jobs:
            each.done.set()


async def test_a_job_larger_than_a_group_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "GROUP_BYTES", 10)
    intake, large = Intake(), job(1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.submit, large)
        await wait_all_tasks_blocked()
        assert intake.take() == [large]
        large.done.set()


@pytest.mark.parametrize(("jobs", "size"), [(3, 1), (10, 40)])
async def test_callers_wait_for_room_in_order(monkeypatch: pytest.MonkeyPatch, jobs: int, size: int) -> None:
    monkeypatch.setattr(intake_module, "WAITING_JOBS", 3)
    monkeypatch.setattr(intake_module, "WAITING_BYTES", 120)
    intake, many = Intake(), [job(size) for _ in range(9)]
    async with trio.open_nursery() as nursery:
        for each in many:
            nursery.start_soon(intake.submit, each)
            await wait_all_tasks_blocked()
        for start in (0, 3, 6):
            assert len(intake) == 3
            taken = intake.take()
            assert taken == many[start : start + 3]
            await wait_all_tasks_blocked()
            for done in taken:
                done.done.set()


async def test_a_caller_cancelled_while_waiting_for_room_makes_room_for_nobody_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_module, "WAITING_JOBS", 1)
    intake, first, second, third = Intake(), job(), job(), job()
    async with trio.open_nursery() as nursery:
        scopes = []
        for each in (first, second, third):
            scope = trio.CancelScope()
            scopes.append(scope)

            async def submit(each: Append = each, scope: trio.CancelScope = scope) -> None:
                with scope:
                    await intake.submit(each)

            nursery.start_soon(submit)
            await wait_all_tasks_blocked()
        scopes[1].cancel()
        await wait_all_tasks_blocked()
        scopes[0].cancel()  # withdrawn: makes room for the third
        await wait_all_tasks_blocked()
        assert intake.take() == [third]
        third.done.set()


async def test_after_closing_what_waits_is_served_and_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "WAITING_JOBS", 1)
    intake, first, second = Intake(), job(), job()
    refused = 0

    async def submit(each: Append) -> None:
        nonlocal refused
        try:
            await intake.submit(each)
        except trio.ClosedResourceError:
            refused += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit, first)
        await wait_all_tasks_blocked()
        nursery.start_soon(submit, second)
        await wait_all_tasks_blocked()
        intake.close()
        await wait_all_tasks_blocked()
        assert refused == 1
        assert intake.take() == [first]
        first.done.set()
    with pytest.raises(trio.ClosedResourceError):
        await intake.submit(job())


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The writer's thread stops here until the event is set."""
    opened, write = threading.Event(), Writer.write

    def wait_and_write(self: Writer, jobs: list[Append]) -> object:
        assert opened.wait(60)
        return write(self, jobs)

    monkeypatch.setattr(Writer, "write", wait_and_write)
    yield opened
    opened.set()


def event(n: int) -> Record:
    return Record(kind="k", key="a", payload=b"%d" % n, dedup=b"%d" % n)


async def test_cancelled_before_it_was_taken_it_did_not_happen_afterwards_it_did(
    folder: Path, gate: threading.Event
) -> None:
    async def append(store: Store, n: int, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await store.append([event(n)])

    async with open_embedded(folder) as store:
        async with trio.open_nursery() as nursery:
            taken = await nursery.start(append, store, 1)
            while (await store.health()).details == {}:
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked(0.01)
            waiting = await nursery.start(append, store, 2)
            await wait_all_tasks_blocked(0.01)
            waiting.cancel()
            taken.cancel()
        assert taken.cancelled_caught
        assert waiting.cancelled_caught
        gate.set()
        assert (await store.append([event(1), event(2), event(3)])).offsets == (None, 2, 3)


async def test_a_cancelled_body_still_gets_its_shielded_last_words_written(folder: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_embedded(folder) as store:
            try:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            finally:
                with trio.move_on_after(30, shield=True):
                    await store.append([event(1)])
    assert scope.cancelled_caught
    async with open_embedded(folder) as store:
        assert await store.end() == 1


async def test_calls_under_way_when_the_body_leaves_are_finished(folder: Path, gate: threading.Event) -> None:
    answers: list[Appended] = []

    async def append(store: Store, n: int) -> None:
        answers.append(await store.append([event(n)]))

    async with trio.open_nursery() as nursery, open_embedded(folder) as store:
        for n in range(5):
            nursery.start_soon(append, store, n)
        await wait_all_tasks_blocked(0.01)
        gate.set()
    assert sorted(answer.offsets for answer in answers) == [(1,), (2,), (3,), (4,), (5,)]


@pytest.mark.parametrize("seed", range(10))
async def test_cancelled_at_any_point_a_call_happened_whole_or_not_at_all(folder: Path, seed: int) -> None:
    rng, answered = Random(seed), set[int]()

    async def append(store: Store, n: int) -> None:
        batch = [event(10 * n + i) for i in range(10)]
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_later, scope, rng.randrange(60))
            await store.append(batch)
        if not scope.cancelled_caught:
            answered.add(n)

    async def cancel_later(scope: trio.CancelScope, checkpoints: int) -> None:
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with open_embedded(folder) as store:
        async with trio.open_nursery() as nursery:
            for n in range(40):
                nursery.start_soon(append, store, n)
        repeated = await store.append([event(n) for n in range(400)])
        present = {n for n in range(40) if repeated.offsets[10 * n] is None}
        assert answered <= present
        assert repeated.duplicates == 10 * len(present)
        assert sorted(int(e.payload) for e in await store.read(0, 1000)) == list(range(400))


async def test_an_error_of_the_body_leaves_as_itself(folder: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_embedded(folder):
            raise ValueError("mine")


async def test_a_bug_in_the_writer_ends_the_store_and_not_silently(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_self: Writer, _jobs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Writer, "write", write)
    with pytest.RaisesGroup(ZeroDivisionError):
        async with open_embedded(folder) as store:
            await store.append([event(1)])
