"""Background jobs: long work of the server that operators can see, and stop where that is safe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import trio

from optimizer.model import FailedPrecondition, NotFound

KEPT = 100  # finished jobs that are remembered
State = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as shown. Times are microseconds since 1970 UTC; `progress_pct` is None when it cannot be told."""

    id: str
    name: str
    status: State
    started_at: int
    completed_at: int | None = None
    progress_pct: int | None = None
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


class Progress:
    """What a job says about itself while it runs."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def report(self, *, done: float | None = None, message: str | None = None) -> None:
        """The share done so far (0..1), and a sentence."""
        percent = self.job.progress_pct if done is None else round(100 * min(max(done, 0.0), 1.0))
        said = self.job.message if message is None else message
        self.job = replace(self.job, progress_pct=percent, message=said)


class Jobs:
    """The running jobs and the newest finished ones. They are the process's own and forgotten when it ends."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._count = 0
        self._running: dict[str, tuple[Progress, trio.CancelScope | None]] = {}
        self._finished: list[Job] = []

    @contextmanager
    def track(self, name: str, *, cancellable: bool, metadata: dict[str, str] | None = None) -> Iterator[Progress]:
        """The block is the job. A cancellable one ends early, silently, when an operator says so."""
        self._count += 1
        job = Job(id=f"job-{self._count}", name=name, status="running", started_at=self._now(), metadata=metadata or {})
        progress = Progress(job)
        scope = trio.CancelScope()
        self._running[job.id] = (progress, scope if cancellable else None)
        status: State = "failed"
        try:
            with scope:
                yield progress
                progress.report(done=1.0)
            status = "cancelled" if scope.cancelled_caught else "completed"
        except trio.Cancelled:  # the tree stops
            status = "cancelled"
            raise
        finally:
            del self._running[job.id]
            self._finished.insert(0, replace(progress.job, status=status, completed_at=self._now()))
            del self._finished[KEPT:]

    def list(self, statuses: frozenset[str] = frozenset()) -> list[Job]:
        """Jobs in these states (all when empty): the running ones, then the finished, newest first."""
        jobs = [*(progress.job for progress, _ in reversed(self._running.values())), *self._finished]
        return [job for job in jobs if not statuses or job.status in statuses]

    def cancel(self, job_id: str) -> Job:
        """Ask a running job to stop. Raises NotFound, FailedPrecondition when it has ended or must not be stopped."""
        entry = self._running.get(job_id)
        if entry is None:
            if any(job.id == job_id for job in self._finished):
                raise FailedPrecondition(f"job {job_id} has ended already")
            raise NotFound(f"no job {job_id[:64]!r}")
        progress, scope = entry
        if scope is None:
            raise FailedPrecondition(f"job {job_id} ({progress.job.name}) cannot be stopped safely")
        scope.cancel()
        progress.report(message="stopping")
        return progress.job
