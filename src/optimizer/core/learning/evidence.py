"""What is known about one variant in one segment: decayed sums, updated at every event, restored exactly.

Two records are kept. The long one forgets by evidence, not by wall-clock: an observation weighs `1 - 1/MEMORY` less
after each later one, so it never freezes and never grows beyond `MEMORY` observations' worth. The recent one remembers
about the last 50 qualities and outcomes; when it contradicts the long one, the policy believes it (`stale` in
`optimizer.core.learning.posterior`) and the fold calls `forget`.

The long record uses forward decay (Cormode et al., "Forward Decay", ICDE 2009): instead of shrinking every sum at every
event, each new observation weighs a little more than the one before.
"""

from collections.abc import Sequence
from typing import Final

MEMORY: Final = 2000.0
"""Observations after which an observation weighs 1/e: a week's drift is followed, a rate is known to about 1 %."""

TRAFFIC_MEMORY: Final = 5000.0
"""Events of the whole service after which an event counts 1/e in the traffic shares of the segments."""

DELIVERED_MEMORY: Final = 1000.0
"""Events of the whole service after which a delivered quality counts 1/e in what the service delivers now."""

RECENT_DECAY: Final = 0.98

_GROWTH: Final = 1.0 / (1.0 - 1.0 / MEMORY)
_LARGEST_WEIGHT: Final = 1e9
_TRAFFIC_DECAY: Final = 1.0 - 1.0 / TRAFFIC_MEMORY
_DELIVERED_DECAY: Final = 1.0 - 1.0 / DELIVERED_MEMORY
_FORMAT: Final = 1

State = tuple[int | float | tuple[float, ...], ...]


class Evidence:
    """Decayed sums of one (segment, variant). `bounds` are the service's quantile bounds, see `bounds_of`.

    Sums are in units of `weight` (the weight of the newest event); divide by it to get effective counts. Fields:
    `events` ever observed, `traffic` (decayed by the service's events) as of event number `tick`; for quality, cost
    (USD) and latency (ms) the weight `_n`, sum `_s` and sum of squares `_ss` of the known values; `outcomes` and
    `errors` count all events and failed ones; `known_n[j]` and `above_n[j]` the values known and above bound j;
    `recent_*` the fast record of quality and errors; `delivered_*` number and sum of the qualities that the service
    delivered lately through this cell (decayed by the service's events, as of `tick`).
    """

    __slots__ = (
        "above_n",
        "bounds",
        "cost_n",
        "cost_s",
        "cost_ss",
        "delivered_n",
        "delivered_s",
        "errors",
        "events",
        "known_n",
        "latency_n",
        "latency_s",
        "latency_ss",
        "outcomes",
        "quality_n",
        "quality_s",
        "quality_ss",
        "recent_errors",
        "recent_n",
        "recent_outcomes",
        "recent_s",
        "tick",
        "traffic",
        "weight",
    )

    def __init__(self, bounds: Sequence[tuple[int, float]] = ()) -> None:
        self.bounds = tuple(bounds)
        self.events = 0
        self.tick = 0
        self.traffic = 0.0
        self.weight = 1.0
        self.outcomes = self.errors = 0.0
        self.quality_n = self.quality_s = self.quality_ss = 0.0
        self.cost_n = self.cost_s = self.cost_ss = 0.0
        self.latency_n = self.latency_s = self.latency_ss = 0.0
        self.delivered_n = self.delivered_s = 0.0
        self.recent_n = self.recent_s = self.recent_outcomes = self.recent_errors = 0.0
        self.known_n = [0.0] * len(self.bounds)
        self.above_n = [0.0] * len(self.bounds)

    def observe(
        self,
        tick: int,
        *,
        quality: float | None = None,
        cost: float | None = None,
        latency: float | None = None,
        error: bool = False,
    ) -> None:
        """Count one finished call. `tick` is the number of events of the service up to and including this one.

        The latency of a failed call does not count: to fail fast is not to be fast.
        """
        self.events += 1
        past = tick - self.tick
        self.tick = tick
        self.traffic = self.traffic * _TRAFFIC_DECAY**past + 1.0
        decay = _DELIVERED_DECAY**past
        self.delivered_n *= decay
        self.delivered_s *= decay
        weight = self.weight * _GROWTH
        if weight > _LARGEST_WEIGHT:
            self._rescale(1.0 / weight)
            weight = 1.0
        self.weight = weight
        self.outcomes += weight
        self.recent_outcomes = self.recent_outcomes * RECENT_DECAY + 1.0
        self.recent_errors *= RECENT_DECAY
        if error:
            self.errors += weight
            self.recent_errors += 1.0
            latency = None
        if quality is not None:
            self.score(quality)
        if cost is not None:
            self.cost_n += weight
            self.cost_s += weight * cost
            self.cost_ss += weight * cost * cost
        if latency is not None:
            self.latency_n += weight
            self.latency_s += weight * latency
            self.latency_ss += weight * latency * latency
        if self.bounds:
            self._exceed(weight, (quality, cost, latency))

    def score(self, quality: float) -> None:
        """Count a judgement (0..1) of an earlier call whose quality was unknown until now."""
        weight = self.weight
        self.quality_n += weight
        self.quality_s += weight * quality
        self.quality_ss += weight * quality * quality
        self.recent_n = self.recent_n * RECENT_DECAY + 1.0
        self.recent_s = self.recent_s * RECENT_DECAY + quality
        self.delivered_n += 1.0
        self.delivered_s += quality

    def revise(self, quality: float, before: float) -> None:
        """The judgement of an earlier call changed from `before` to `quality`; it weighs what a new one would."""
        weight, change = self.weight, quality - before
        self.quality_s = min(max(self.quality_s + weight * change, 0.0), self.quality_n)
        squares = self.quality_ss + weight * (quality * quality - before * before)
        self.quality_ss = min(max(squares, 0.0), self.quality_s)
        self.recent_s = min(max(self.recent_s + change, 0.0), self.recent_n)

    def forget(self) -> None:
        """Keep of quality and errors only what the recent record says: the variant is not what it was."""
        weight = self.weight
        if self.quality_n > 0.0 and self.recent_n > 0.0:
            # A 0/1 quality stays one, another keeps the part of the largest possible spread that it has.
            before = self.quality_s / self.quality_n
            most = before * (1.0 - before)
            part = (self.quality_ss / self.quality_n - before * before) / most if most > 1e-9 else 1.0
            mean = self.recent_s / self.recent_n
            self.quality_n = weight * self.recent_n
            self.quality_s = weight * self.recent_s
            self.quality_ss = self.quality_n * (mean * mean + min(max(part, 0.0), 1.0) * mean * (1.0 - mean))
        self.outcomes = weight * self.recent_outcomes
        self.errors = weight * self.recent_errors

    def rebound(self, bounds: Sequence[tuple[int, float]]) -> None:
        """Take over the quantile bounds of a changed objective; what was counted against other bounds is dropped."""
        old = dict(zip(self.bounds, zip(self.known_n, self.above_n, strict=True), strict=True))
        self.bounds = tuple(bounds)
        counts = [old.get(bound, (0.0, 0.0)) for bound in self.bounds]
        self.known_n = [known for known, _ in counts]
        self.above_n = [above for _, above in counts]

    def state(self) -> State:
        """Everything, as a tuple of numbers and tuples of numbers: MessagePack and JSON keep it exactly."""
        flat = tuple(float(x) for bound in self.bounds for x in bound)
        numbers = tuple(getattr(self, name) for name in _NUMBERS)
        return (_FORMAT, *numbers, flat, tuple(self.known_n), tuple(self.above_n))

    @classmethod
    def restore(cls, state: Sequence[object]) -> "Evidence":
        """The evidence whose `state()` this is. Raises `ValueError` when it is not one."""
        form, *numbers, flat, known, above = state
        if form != _FORMAT or len(numbers) != len(_NUMBERS):
            raise ValueError(f"unknown format of evidence: {form!r} with {len(numbers)} numbers")
        ends, known_n, above_n = (_floats(x) for x in (flat, known, above))
        self = cls([(int(metric), bound) for metric, bound in zip(ends[::2], ends[1::2], strict=True)])
        if not len(known_n) == len(above_n) == len(self.bounds):
            raise ValueError("evidence has counts for other bounds than its own")
        for name, number in zip(_NUMBERS, numbers, strict=True):
            setattr(self, name, number)
        self.known_n, self.above_n = known_n, above_n
        return self

    def _exceed(self, weight: float, values: tuple[float | None, ...]) -> None:
        for j, (metric, bound) in enumerate(self.bounds):
            value = values[metric]
            if value is not None:
                self.known_n[j] += weight
                if value > bound:
                    self.above_n[j] += weight

    def _rescale(self, factor: float) -> None:
        for name in _WEIGHTED:
            setattr(self, name, getattr(self, name) * factor)
        self.known_n = [x * factor for x in self.known_n]
        self.above_n = [x * factor for x in self.above_n]


_NUMBERS = tuple(sorted(set(Evidence.__slots__) - {"bounds", "known_n", "above_n"}))
_WEIGHTED = tuple(
    name for name in _NUMBERS if name in ("outcomes", "errors") or name.startswith(("quality_", "cost_", "latency_"))
)


def _floats(values: object) -> list[float]:
    if not isinstance(values, tuple | list):
        raise ValueError("evidence has counts that are not a list")  # noqa: TRY004 - malformed data, not a bug
    return [float(value) for value in values]
