"""Group commit: one task writes what many callers want in common transactions, and tells each what became of it."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from optimizer.model import OptimizerError, StorageUnavailable, StoreCorrupt, sole_error
from optimizer.storage.intake import Answer, Intake, Job

CLOSE_S = 5.0
"""Seconds for the writer to finish what it was given when its store closes."""

PROBE_S = 1.0
"""Seconds between attempts to write while the store cannot, so that it heals without a caller who risks data."""


@dataclass(frozen=True, slots=True)
class Written:
    """A group's outcome: one answer for each job; `durable` when something was written, and not only looked up."""

    answers: Sequence[Answer]
    durable: bool


class GroupWriter:
    """Passes groups of jobs to `write`, one at a time. While writing fails, `probe` is tried every `PROBE_S`.

    `write` and `probe` raise StorageUnavailable or StoreCorrupt when nothing is acknowledged; anything else is a bug
    and ends the store.
    """

    def __init__(self, write: Callable[[list[Job]], Awaitable[Written]], probe: Callable[[], Awaitable[None]]) -> None:
        self._write = write
        self._probe = probe
        self._intake = Intake()
        self.failure: OptimizerError | None = None
        """Why the last attempt to write failed; None when it worked."""

    @property
    def waiting(self) -> int:
        """Calls that wait for the writer."""
        return len(self._intake)

    async def call(self, job: Job) -> Answer:
        """The job's answer. Raises: what `write` raised for its group, Conflict or StoreCorrupt of its own.

        Cancellation: the job is withdrawn when the writer has not taken it; afterwards its outcome is unknown.
        """
        await self._intake.submit(job)
        answer = job.answer
        if isinstance(answer, OptimizerError):
            raise type(answer)(str(answer))  # a fresh error for each caller: one failed group answers many
        if answer is None:
            raise RuntimeError("a job came back without an answer")
        return answer

    def note_failure(self, failure: OptimizerError) -> None:
        """A write beside the groups failed: say so and try until writing works again."""
        self.failure = failure
        self._intake.wake()

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        """Write group after group until the store is closed.

        It outlives a cancelled body so that calls made in the body's shielded clean-up are served; the deadline comes
        from `writing` as soon as the body has left.
        """
        with trio.CancelScope(shield=True, deadline=math.inf) as scope:
            task_status.started(scope)
            while not (self._intake.closed and not self.waiting):
                with trio.move_on_after(math.inf if self.failure is None else PROBE_S):
                    await self._intake.wait()
                jobs = self._intake.take()
                if jobs:
                    await self._serve(jobs)
                elif self.failure is not None and not self._intake.closed:
                    await self._try_again()
        for job in self._intake.take():
            job.answer = StorageUnavailable("the store closed before it could write")
            job.done.set()

    def close(self) -> None:
        """No further jobs; those that wait are finished."""
        self._intake.close()

    async def _serve(self, jobs: list[Job]) -> None:
        try:
            written = await self._write(jobs)
        except (StorageUnavailable, StoreCorrupt) as e:
            self.failure = e
            answers: Sequence[Answer] = [e] * len(jobs)
        else:
            answers = written.answers
            if written.durable:
                self.failure = None
        for job, answer in zip(jobs, answers, strict=True):
            job.answer = answer
            job.done.set()

    async def _try_again(self) -> None:
        try:
            await self._probe()
        except (StorageUnavailable, StoreCorrupt) as e:
            self.failure = e
        else:
            self.failure = None


@asynccontextmanager
async def writing(writer: GroupWriter) -> AsyncIterator[trio.Nursery]:
    """Run the writer's task around the body, which gets the nursery for other tasks of the store; they are cancelled
    when it leaves. An error of the body leaves as itself, not inside a group.
    """
    failed: BaseException | None = None
    try:
        async with trio.open_nursery() as outer:
            scope = await outer.start(writer.run)
            try:
                async with trio.open_nursery() as others:
                    try:
                        yield others
                    except BaseException as e:
                        failed = e
                        raise
                    finally:
                        others.cancel_scope.cancel()
            finally:
                writer.close()
                scope.deadline = trio.current_time() + CLOSE_S
    except BaseExceptionGroup as group:
        if failed is not None and sole_error(group) is failed:
            raise failed from failed.__cause__
        raise
