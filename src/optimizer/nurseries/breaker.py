"""A circuit breaker: calls to a dependency that fails are refused at once, until some probes have shown it is back.

States as in resilience4j and Polly (closed, open, half-open). Calls that were cancelled are never counted: they say
something about the caller. Time is Trio's clock. Everything is decided between two checkpoints.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import trio

from optimizer.model import Unavailable


class BreakerState(Enum):
    """The values are those of the metric `breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When to open and how to close again.

    Opens when, among the calls that ended within `window_s` seconds (at most the last `window_calls`), there are at
    least `minimum_calls` and the share `failure_ratio` of them failed. After `open_s` seconds exactly `probes` calls
    are let through: all of them succeeding closes the breaker, the first one failing opens it anew.
    """

    minimum_calls: int = 5
    failure_ratio: float = 0.5
    window_s: float = 30.0
    window_calls: int = 100
    open_s: float = 30.0
    probes: int = 3


class BreakerOpen(Unavailable):
    """The breaker refused the call; the dependency was not asked."""


class Breaker:
    """Guards the calls to one dependency.

    Put the timeout inside the guard, so that it counts: `with breaker.guard(): with trio.fail_after(2): await call()`.
    `failures` are the errors that speak against the dependency; another error is an answer, and counts as success.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy | None = None,
        *,
        failures: tuple[type[Exception], ...] = (Exception,),
        on_change: Callable[[str, BreakerState], None] | None = None,
    ) -> None:
        self.name = name
        self.policy = BreakerPolicy() if policy is None else policy
        self.refused = 0
        self._failures = failures
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._calls: deque[tuple[float, bool]] = deque(maxlen=self.policy.window_calls)
        self._opened_at = 0.0
        self._permits = 0
        self._successes = 0
        self._era = 0  # outcomes of calls that began before the last change of state say nothing about this one

    @property
    def state(self) -> BreakerState:
        """The state as the next call would find it."""
        if self._state is BreakerState.OPEN and trio.current_time() >= self._opened_at + self.policy.open_s:
            return BreakerState.HALF_OPEN
        return self._state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises `BreakerOpen` instead of entering the block when the breaker refuses."""
        era = self._admit()
        try:
            yield
        except Exception as error:
            self._record(era, failed=_speaks_against(error, self._failures))
            raise
        except BaseException:
            self._give_back(era)
            raise
        self._record(era, failed=False)

    def _admit(self) -> int:
        if self.state is BreakerState.HALF_OPEN and self._state is BreakerState.OPEN:
            self._permits, self._successes = self.policy.probes, 0
            self._change(BreakerState.HALF_OPEN)
        if self._state is BreakerState.OPEN:
            self._refuse(self._opened_at + self.policy.open_s - trio.current_time())
        if self._state is BreakerState.HALF_OPEN:
            if self._permits == 0:
                self._refuse(1.0)
            self._permits -= 1
        return self._era

    def _record(self, era: int, *, failed: bool) -> None:
        if era != self._era:
            return
        now = trio.current_time()
        if self._state is BreakerState.HALF_OPEN:
            self._successes += not failed
            if failed:
                self._open(now)
            elif self._successes == self.policy.probes:
                self._calls.clear()
                self._change(BreakerState.CLOSED)
            return
        self._calls.append((now, failed))
        while self._calls[0][0] <= now - self.policy.window_s:
            self._calls.popleft()
        failures = sum(bad for _, bad in self._calls)
        enough = len(self._calls) >= self.policy.minimum_calls
        if failed and enough and failures >= self.policy.failure_ratio * len(self._calls):
            self._open(now)

    def _give_back(self, era: int) -> None:
        """A cancelled probe showed nothing: another call may take its place."""
        if era == self._era and self._state is BreakerState.HALF_OPEN:
            self._permits += 1

    def _open(self, now: float) -> None:
        self._opened_at = now
        self._calls.clear()
        self._change(BreakerState.OPEN)

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._era += 1
        if self._on_change is not None:
            self._on_change(self.name, state)

    def _refuse(self, retry_after_s: float) -> None:
        self.refused += 1
        raise BreakerOpen(f"{self.name} is not available now", retry_after_s=max(retry_after_s, 0.0))


def _speaks_against(error: Exception, failures: tuple[type[Exception], ...]) -> bool:
    if isinstance(error, ExceptionGroup):
        return any(_speaks_against(part, failures) for part in error.exceptions)
    return isinstance(error, failures)
