"""When to compute a new policy, and computing it: after at most 25 new events or one second, whichever comes first."""

import hashlib
from collections.abc import Callable

from optimizer.core import records
from optimizer.core.fold import ServiceState, State
from optimizer.core.learning import learn
from optimizer.model import Policy, Row
from optimizer.storage import Record

EVENTS = 25
QUIET_S = 1.0
SHARE = 0.25  # at most this part of a core goes to one service's policies: under a flood, fewer and larger steps


class Planner:
    """Decides for each service whether a new policy is due. The policy is a record of the log like any other."""

    def __init__(self, now: Callable[[], int], stopwatch: Callable[[], float]) -> None:
        self._now = now
        self._stopwatch = stopwatch
        self._last: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def plan(self, state: State, clock: float) -> list[Record]:
        """The policy records to append now. `clock` is monotonic seconds."""
        return [
            self._record(service, state.cursor, clock)
            for name, service in state.services.items()
            if self._due(name, service, clock)
        ]

    def _due(self, name: str, service: ServiceState, clock: float) -> bool:
        if service.policy is None or service.policy.cursor < service.revision:
            return True
        if service.declaration.mode == "fixed" or service.since_policy == 0:
            return False
        if clock < self._not_before.get(name, clock):
            return False
        return service.since_policy >= EVENTS or clock - self._last.get(name, clock - QUIET_S) >= QUIET_S

    def _record(self, service: ServiceState, cursor: int, clock: float) -> Record:
        before = self._stopwatch()
        policy = compute(service, cursor, self._now())
        name = policy.service
        self._last[name] = clock
        self._not_before[name] = clock + (self._stopwatch() - before) / SHARE
        return Record(kind=records.POLICY, key=name, payload=records.encode(policy))


def compute(service: ServiceState, cursor: int, now: int) -> Policy:
    """The next policy of a service: a function of its state, its version number and nothing else (`now` is a stamp)."""
    spec = service.declaration
    version = 1 if service.policy is None else service.policy.version + 1
    seed = int.from_bytes(hashlib.blake2b(f"{spec.name}/{version}".encode(), digest_size=6).digest(), "big")
    baseline = spec.index(spec.baseline)
    if baseline is None:
        raise ValueError(f"service {spec.name!r} was declared with an unknown baseline")
    stale: tuple[tuple[str, str], ...] = ()
    if spec.mode == "fixed":
        only = tuple(1.0 if i == baseline else 0.0 for i in range(len(spec.variants)))
        rows, default = {}, Row(only, tuple(p > 0 for p in only))
    else:
        evidence = {key: cell.evidence for key, cell in service.cells.items()}
        learnt = learn(spec, evidence)
        rows, default, stale = learnt.rows, learnt.default, tuple(sorted(learnt.stale))
    return Policy(
        service=spec.name,
        version=version,
        cursor=cursor,
        seed=seed,
        created_at=now,
        variants=tuple(v.name for v in spec.variants),
        baseline=baseline,
        default=default,
        rows=rows,
        holdout=spec.holdout if spec.mode == "learn" else 0.0,
        mode=spec.mode,
        stale=stale,
    )
