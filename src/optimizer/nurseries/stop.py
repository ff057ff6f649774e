"""The stop of the process: asked for once it drains, asked for twice it cancels; every share of the grace time counts
from the first request.
"""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from optimizer.nurseries.policy import Grace, Stage


class Stop:
    """Whether and how the process stops.

    `requested` is set by the first request (readiness goes false), `draining` after the lame-duck time (the edges stop
    accepting and drain), `hurried` by the second request (whatever still drains is cancelled).
    """

    def __init__(self, grace: Grace | None = None) -> None:
        self.grace = Grace() if grace is None else grace
        self.requested = trio.Event()
        self.draining = trio.Event()
        self.hurried = trio.Event()
        self.reason: str | None = None
        self.at: float | None = None
        self._limit = trio.CancelScope()
        self._listeners: list[Callable[[], None]] = []
        self._start_scopes: list[trio.CancelScope] = []
        self._drain_scopes: list[trio.CancelScope] = []

    def request(self, reason: str) -> None:
        """Begin to stop: the first call fixes reason and time, later ones change nothing."""
        if self.requested.is_set():
            return
        self.reason, self.at = reason, trio.current_time()
        self.requested.set()
        for scope in self._start_scopes:
            scope.cancel()
        for listener in self._listeners:
            listener()

    def hurry(self, reason: str) -> None:
        """Cancel whatever drains or waits for its share of the grace time."""
        self.request(reason)
        self.draining.set()
        self.hurried.set()
        for scope in self._drain_scopes:
            scope.cancel()

    def limit(self, seconds: float) -> None:
        """Hurry that many seconds from now, if the process still runs by then; the earliest limit counts."""
        self._limit.deadline = min(self._limit.deadline, trio.current_time() + seconds)

    async def run_limit(self) -> None:
        """Hurry when the limit says so; returns after that."""
        with self._limit:
            await trio.sleep_forever()
        self.hurry("the time given for the shutdown is over")

    def on_request(self, listener: Callable[[], None]) -> None:
        """Have a function called at the first request, synchronously and before anything else can run."""
        self._listeners.append(listener)

    def deadline(self, stage: Stage) -> float:
        """The Trio time by which that stage has to be gone; infinity before the stop was requested."""
        return self.after(self.grace.share(stage))

    def after(self, seconds: float) -> float:
        """That many seconds after the stop was requested, as Trio time; infinity before that."""
        return math.inf if self.at is None else self.at + seconds

    @contextmanager
    def interrupts_start(self) -> Iterator[trio.CancelScope]:
        """A scope that the first request cancels: around the start of a service."""
        with trio.CancelScope() as scope, _listed(scope, self._start_scopes):
            if self.requested.is_set():
                scope.cancel()
            yield scope

    @contextmanager
    def drain_until(self, deadline: float) -> Iterator[trio.CancelScope]:
        """A scope that ends at the deadline or with the second request: around waiting for a drain."""
        with trio.CancelScope(deadline=deadline) as scope, _listed(scope, self._drain_scopes):
            if self.hurried.is_set():
                scope.cancel()
            yield scope

    async def run_lame_duck(self) -> None:
        """Set `draining` once the lame-duck time after the request has passed (at once when hurried)."""
        await self.requested.wait()
        with self.drain_until(self.after(self.grace.lame_duck_s)):
            await self.hurried.wait()
        self.draining.set()


async def watch_signals(
    stop: Stop, *, reload: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """SIGTERM and SIGINT request the stop, a second one hurries it; SIGHUP calls `reload`. Runs until cancelled."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                reload()
            elif stop.requested.is_set():
                stop.hurry(signal.Signals(number).name)
            else:
                stop.request(signal.Signals(number).name)


@contextmanager
def _listed(scope: trio.CancelScope, scopes: list[trio.CancelScope]) -> Iterator[None]:
    scopes.append(scope)
    try:
        yield
    finally:
        scopes.remove(scope)
