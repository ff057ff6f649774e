"""Rate limits: the generic cell rate algorithm, one number per caller, in a registry that cannot grow without end.

GCRA (ITU-T I.371) admits exactly what a token bucket of `burst` tokens refilled at `rate` per second admits: never
more than rate * t + burst in any window of t seconds. Time is an argument (any clock that does not go back).
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from optimizer.model import ResourceExhausted


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer for one request: admitted or not, what is left now, and the wait until it would be admitted."""

    admitted: bool
    remaining: int
    retry_after_s: float


class RateLimit:
    """A limit of `rate` per second with bursts of `burst`, per caller; a rate of 0 admits everything.

    `callers` bounds the memory: beyond it the caller that was seen longest ago starts afresh. That caller's bucket is
    the fullest unless there are more than `callers` active ones at once, so nothing is gained by changing names slowly.
    """

    def __init__(self, rate: float, burst: int, callers: int) -> None:
        self._rate = rate
        self._burst = burst
        self._callers = callers
        self._busy_until: OrderedDict[Hashable, float] = OrderedDict()

    def admit(self, caller: Hashable, *, now: float, cost: int = 1) -> Admission:
        """Count the request if the limit admits it; a refused one costs nothing."""
        if self._rate <= 0:
            return Admission(True, self._burst, 0.0)
        step = 1.0 / self._rate
        busy_until = max(self._busy_until.get(caller, now), now)
        after = busy_until + cost * step
        allowed_until = now + self._burst * step
        # A billionth of a step forgives rounding, which else refuses the last one of a burst.
        if after > allowed_until + step * 1e-9 * self._burst:
            remaining = int((allowed_until - busy_until) * self._rate + 1e-6)
            return Admission(False, remaining, after - allowed_until)
        self._busy_until[caller] = after
        self._busy_until.move_to_end(caller)
        if len(self._busy_until) > self._callers:
            self._busy_until.popitem(last=False)
        return Admission(True, int((allowed_until - after) * self._rate + 1e-6), 0.0)

    def check(self, caller: Hashable, *, now: float, cost: int = 1) -> None:
        """Like `admit`. Raises: `ResourceExhausted` with the time to wait."""
        admission = self.admit(caller, now=now, cost=cost)
        if not admission.admitted:
            raise ResourceExhausted("the rate limit is reached", retry_after_s=admission.retry_after_s)

    def __len__(self) -> int:
        return len(self._busy_until)
