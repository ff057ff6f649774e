"""One supervised service: restarted after a crash with backoff, given up above its intensity, never restarted once
it was told to stop. Time is Trio's clock, randomness is an argument.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import trio

from optimizer.nurseries.policy import Criticality, Restart, ServiceSpec


class Happening(Enum):
    """What can be told about a service; the observer of the tree logs, counts and shows it."""

    STARTING = "starting"
    STARTED = "started"
    CRASHED = "crashed"
    RESTARTING = "restarting"
    GIVEN_UP = "given up"
    DONE = "done"
    LEAVING = "leaving"
    UNSTOPPED = "unstopped"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """Something that happened to a service. `seconds`: how long it took, or for RESTARTING how long until then."""

    service: str
    happening: Happening
    at: float
    seconds: float | None = None
    error: BaseException | None = None
    detail: str | None = None


Observer = Callable[[ServiceEvent], None]


class UnexpectedExit(Exception):
    """A permanent service returned though nobody had told it to stop."""


class Unhealthy(Exception):
    """A service failed its health probe as often as the threshold allows, so its run was ended."""


class RestartLimitExceeded(Exception):
    """A service crashed more often than its intensity allows, and the process cannot do without it."""

    def __init__(self, service: str) -> None:
        super().__init__(f"{service} crashed more often than its restart intensity allows")
        self.service = service


class Supervisor:
    """Keeps one service running.

    The first start failing is the error of whoever starts it. Later crashes restart it. A crash after the service was
    told to stop is reported and not repaired: whether it was told is judged by its `leave` event, never by the error.
    """

    def __init__(self, spec: ServiceSpec, *, observe: Observer, rng: random.Random) -> None:
        self.spec = spec
        self.serving = False
        self._observe = observe
        self._rng = rng
        self._restarts: deque[float] = deque()
        self._run_scope: trio.CancelScope | None = None
        self._recycle_reason: str | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the service until it is done, told to stop, or cancelled.

        Raises: whatever the first start raised; `RestartLimitExceeded` above the intensity of a service that may fall.
        """
        first = _FirstStart(task_status)
        while True:
            crash = await self._run_once(first)
            if crash is None:
                self._tell(Happening.DONE)
                return
            self._tell(Happening.CRASHED, error=crash)
            if self._told_to_stop():
                return
            if not first.done:
                raise crash
            delay = self._plan_restart(crash)
            if delay is None:
                return
            self._tell(Happening.RESTARTING, seconds=delay, error=crash)
            if await self._pause(delay):
                self._tell(Happening.DONE)
                return

    def recycle(self, reason: str) -> None:
        """End the current run as if it had crashed with `Unhealthy(reason)`; nothing when it is not serving."""
        if self.serving and self._run_scope is not None:
            self._recycle_reason = reason
            self._run_scope.cancel()

    async def _run_once(self, first: "_FirstStart") -> Exception | None:
        """One run of the service; its crash, or None when it ended as it may."""
        began = trio.current_time()
        self._tell(Happening.STARTING)

        def on_started() -> None:
            self.serving = True
            self._tell(Happening.STARTED, seconds=trio.current_time() - began)

        crash: Exception | None = None
        try:
            with trio.CancelScope() as self._run_scope:
                await self.spec.run(task_status=_Started(first, on_started))
        except Exception as exc:  # noqa: BLE001 - the boundary that contains a service's crash; it is reported above
            crash = exc
        except BaseExceptionGroup as group:
            # Cancelled, and something failed on the way out: it is told like every crash, and the cancellation goes on.
            error, rest = group.split(Exception)
            if error is None or rest is None:
                raise
            self._tell(Happening.CRASHED, error=error)
            raise rest from None
        finally:
            was_serving, self.serving, self._run_scope = self.serving, False, None
            recycled, self._recycle_reason = self._recycle_reason, None
        if crash is None and recycled is not None:
            return Unhealthy(recycled)
        if crash is None and not was_serving and not self._told_to_stop():
            return UnexpectedExit(f"{self.spec.name} returned before it had started")
        if crash is None and self.spec.restart is Restart.PERMANENT and not self._told_to_stop():
            return UnexpectedExit(f"{self.spec.name} returned though it had not been told to stop")
        return crash

    def _plan_restart(self, crash: Exception) -> float | None:
        """The delay before the next start; None when there is none. Raises when the layer has to fall."""
        spec, now = self.spec, trio.current_time()
        while self._restarts and self._restarts[0] <= now - spec.intensity.period_s:
            self._restarts.popleft()
        exhausted = len(self._restarts) >= spec.intensity.restarts
        if spec.restart is not Restart.TEMPORARY and not exhausted:
            self._restarts.append(now)
            return spec.backoff.delay(len(self._restarts), self._rng)
        self._tell(Happening.GIVEN_UP, error=crash)
        if spec.criticality is Criticality.FALL:
            raise RestartLimitExceeded(spec.name) from crash
        return None if spec.restart is Restart.TEMPORARY else spec.revive_s

    async def _pause(self, delay: float) -> bool:
        """Wait; true when the service was told to stop meanwhile."""
        if self.spec.leave is None:
            await trio.sleep(delay)
            return False
        with trio.move_on_after(delay):
            await self.spec.leave.wait()
        return self.spec.leave.is_set()

    def _told_to_stop(self) -> bool:
        return self.spec.leave is not None and self.spec.leave.is_set()

    def _tell(self, happening: Happening, *, seconds: float | None = None, error: BaseException | None = None) -> None:
        self._observe(
            ServiceEvent(
                service=self.spec.name, happening=happening, at=trio.current_time(), seconds=seconds, error=error
            )
        )


class _FirstStart:
    """Forwards the first `started()` to whoever waits for the start; later starts concern only the supervisor."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.done = False

    def forward(self) -> None:
        if not self.done:
            self.done = True
            self._task_status.started()


class _Started:
    """The `task_status` that a run of the service sees."""

    def __init__(self, first: _FirstStart, on_started: Callable[[], None]) -> None:
        self._first = first
        self._on_started = on_started
        self._called = False

    def started(self, value: object = None) -> None:  # noqa: ARG002 - values travel through slots, not through here
        if self._called:
            raise RuntimeError("called 'started' twice in one run of the service")
        self._called = True
        self._on_started()
        self._first.forward()
