"""When to compute a new policy, and computing it: after at most 25 new events or one second, whichever comes first."""

from collections.abc import Callable

from optimizer.core import records
from optimizer.core.fold import ServiceState, State
from optimizer.core.planning import compute
from optimizer.core.rollout import Tick, apply, waits_for_time
from optimizer.model import Split
from optimizer.storage import Record

EVENTS = 25
QUIET_S = 1.0
SHARE = 0.25  # at most this part of a core goes to one service's policies: under a flood, fewer and larger steps
SMALL = 4_096  # bytes of a policy that may be written at every step
BYTES_PER_S = 200_000  # larger ones at most so fast: a policy over a thousand segments is some 60 KB


class Planner:
    """Decides for each service whether a new policy is due. The policy is a record of the log like any other."""

    def __init__(self, now: Callable[[], int], stopwatch: Callable[[], float]) -> None:
        self._now = now
        self._stopwatch = stopwatch
        self._last: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def plan(self, state: State, clock: float) -> list[Record]:
        """The policy records to append now. `clock` is monotonic seconds."""
        found = []
        for name, service in state.services.items():
            split = state.rollouts.split(name, tuple(v.name for v in service.declaration.variants))
            if self._due(name, service, split, clock):
                found.append(self._record(service, split, state.cursor, clock))
        return found + self._ticks(state)

    def _ticks(self, state: State) -> list[Record]:
        """A tick for every rollout that time alone moves on now."""
        now = self._now()
        found = []
        for rollout in state.rollouts.active.values():
            if waits_for_time(rollout, now) and apply(rollout, Tick(now))[1]:
                tick = records.RolloutTick(rollout.id, now)
                found.append(Record(kind=records.ROLLOUT, key=rollout.spec.service, payload=records.encode(tick)))
        return found

    def _due(self, name: str, service: ServiceState, split: Split | None, clock: float) -> bool:
        policy = service.policy
        if policy is None or policy.cursor < service.revision or policy.split != split:
            return True
        if service.declaration.mode == "fixed" or service.since_policy == 0:
            return False
        if clock < self._not_before.get(name, clock):
            return False
        return service.since_policy >= EVENTS or clock - self._last.get(name, clock - QUIET_S) >= QUIET_S

    def _record(self, service: ServiceState, split: Split | None, cursor: int, clock: float) -> Record:
        before = self._stopwatch()
        policy = compute(service, split, cursor, self._now())
        name, payload = policy.service, records.encode(policy)
        self._last[name] = clock
        pause = max(len(payload) - SMALL, 0) / BYTES_PER_S
        self._not_before[name] = clock + max((self._stopwatch() - before) / SHARE, pause)
        return Record(kind=records.POLICY, key=name, payload=payload)
