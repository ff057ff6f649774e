"""Overload is refused early and cheaply, with a hint when to come back: concurrency, lag, rate per caller."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer.grpc_api.calls.routes import Handle, Route
from optimizer.grpc_api.calls.stream import Stream
from optimizer.model import ResourceExhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """What the server takes on. Health checks are exempt: an overloaded server still has to say that it lives."""

    calls: int = 4_096  # in flight over all connections; a call costs some 10 KiB before its messages
    lag_s: float = 1.0  # between a request's arrival and its start; later it is likely to be answered in vain
    retry_s: float = 0.5  # what a refused client is told to wait


class Verdict(Protocol):
    """The answer of a rate limiter."""

    @property
    def admitted(self) -> bool: ...
    @property
    def retry_after_s(self) -> float: ...


class Limiter(Protocol):
    """A token bucket per caller: `security.RateLimit`."""

    def admit(self, caller: Hashable, *, now: float, cost: int = 1) -> Verdict: ...


class Shedding:
    """Refuses calls beyond the limits with RESOURCE_EXHAUSTED and a pushback, and those nobody waits for any more."""

    def __init__(self, limits: LoadLimits, *, exempt: frozenset[str] = frozenset()) -> None:
        self._limits = limits
        self._exempt = exempt
        self.open = 0
        self.refused = 0

    def wrap(self, route: Route, handle: Handle) -> Handle:
        if route.path in self._exempt:
            return handle
        limits = self._limits

        async def admitted(stream: Stream[Any, Any]) -> None:
            if self.open >= limits.calls:
                self.refused += 1
                raise ResourceExhausted("the server is at its limit of calls", retry_after_s=limits.retry_s)
            stream.admitted_at = now = trio.current_time()
            if stream.deadline is not None and stream.deadline.at <= now:
                raise GRPCError(Status.DEADLINE_EXCEEDED, "the deadline had passed before the call began")
            if now - stream.started_at > limits.lag_s:
                self.refused += 1
                raise ResourceExhausted("the server is overloaded", retry_after_s=limits.retry_s)
            self.open += 1
            try:
                await handle(stream)
            finally:
                self.open -= 1

        return admitted


def charge(limiter: Limiter, caller: Hashable, now: float) -> None:
    """Count one call of a caller. Raises ResourceExhausted that says how long to wait."""
    verdict = limiter.admit(caller, now=now)
    if not verdict.admitted:
        raise ResourceExhausted("the rate limit is reached", retry_after_s=verdict.retry_after_s)
