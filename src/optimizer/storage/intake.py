"""The bounded queue before the writer: callers wait for room, the writer takes everything at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from optimizer.model import OptimizerError
from optimizer.storage.protocols import Appended, Cursor, Delete, Put, Record

WAITING_JOBS = 1024
"""Calls that wait for the writer: more than a commit takes at once; the last of them waits well under 1 s."""

WAITING_BYTES = 32 * 2**20
"""Bytes that wait: two of the largest calls, so that the memory held by a stalled disk is bounded."""
GROUP_BYTES = 2 * 2**20
"""Bytes that end a group (it holds at least one job): some 10,000 events, which take about 0.1 s."""


Answer = Appended | tuple[int, ...] | OptimizerError
"""What a call gets: where its records are, the versions of its documents, or why not."""


@dataclass(eq=False, slots=True)
class Append:
    """One call of `append` on its way through the writer."""

    records: Sequence[Record]
    size: int
    answer: Answer | None = None
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(eq=False, slots=True)
class Commit:
    """One call of `commit` on its way through the writer."""

    changes: Sequence[Put | Delete]
    cursor: Cursor | None
    size: int
    answer: Answer | None = None
    done: trio.Event = field(default_factory=trio.Event)


Job = Append | Commit


class Intake:
    """Jobs in the order of their calls; all on the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Job, None] = {}
        self._bytes = 0
        self._turn = trio.Lock()
        self._room = trio.lowlevel.ParkingLot()
        self._work = trio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, job: Job) -> None:
        """Queue the job and wait until its answer is there.

        Cancellation: before the writer has taken the job it is withdrawn and nothing happens; afterwards the caller
        leaves at once and the writer finishes without it.
        """
        async with self._turn:  # callers enter in order, so a large job is not passed by small ones for ever
            while not self._closed and self._full(job):
                await self._room.park()
        if self._closed:
            raise trio.ClosedResourceError("the store is closed")
        self._waiting[job] = None
        self._bytes += job.size
        self._work.set()
        try:
            await job.done.wait()
        finally:
            if job in self._waiting:
                self._remove(job)

    async def wait(self) -> None:
        """Until there is work, or there will be none."""
        await self._work.wait()

    def wake(self) -> None:
        """Let `wait` return once, though there may be no job."""
        self._work.set()

    def take(self) -> list[Job]:
        """The group to write next, in the order of the calls; from now on its outcome is the writer's."""
        jobs: list[Job] = []
        size = 0
        for job in self._waiting:
            size += job.size
            if jobs and size > GROUP_BYTES:
                break
            jobs.append(job)
        for job in jobs:
            self._remove(job)
        if not self._waiting and not self._closed:
            self._work = trio.Event()
        return jobs

    def _full(self, job: Job) -> bool:
        return len(self) > 0 and (len(self) >= WAITING_JOBS or self._bytes + job.size > WAITING_BYTES)

    def _remove(self, job: Job) -> None:
        del self._waiting[job]
        self._bytes -= job.size
        self._room.unpark()

    @property
    def closed(self) -> bool:
        """Whether no job comes any more."""
        return self._closed

    def close(self) -> None:
        """No further jobs; those that wait are still served, callers without room are refused."""
        self._closed = True
        self._work.set()
        self._room.unpark()
