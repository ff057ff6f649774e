"""Replay: fold a log again and compute every policy anew; what was decided then must come out byte for byte.

The log is read twice: first for the policies (each names the offset of the last record that it had seen), then to fold
it and compute them at exactly those places. Rollouts, ledger and counts are the fold's state itself.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from optimizer.core import records
from optimizer.core.fold import Call, State
from optimizer.core.planning import compute
from optimizer.model import Policy


class Line(NamedTuple):
    """One record of a log, as any store gives it."""

    offset: int
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded policy that the replay computed otherwise."""

    offset: int
    service: str
    version: int


@dataclass(slots=True)
class Replay:
    """What a replay found. `policies` were computed anew; `different` lists those that did not come out the same."""

    state: State = field(default_factory=State)
    records: int = 0
    policies: int = 0
    different: list[Difference] = field(default_factory=list)


def recorded_policies(log: Iterable[Line]) -> dict[int, list[tuple[int, bytes]]]:
    """Offset and bytes of every policy in the log, by the cursor that it was computed at."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    for line in log:
        if line.kind == records.POLICY:
            policy = records.decode_policy(line.payload)
            found.setdefault(policy.cursor, []).append((line.offset, line.payload))
    return found


def replay(
    log: Iterable[Line],
    recorded: Mapping[int, list[tuple[int, bytes]]],
    *,
    calls: Callable[[], Mapping[str, Call]] | None = None,
    each: Callable[[Line, State], None] | None = None,
) -> Replay:
    """Fold the whole log from its beginning and compute every recorded policy anew.

    `each` sees every record before it is folded. The call index grows with the log; `calls` may stand in for it.
    """
    result = Replay()
    state = result.state
    for line in log:
        if each is not None:
            each(line, state)
        known = state.changes.calls if calls is None else calls()
        state.apply(line.offset, line.kind, line.payload, known)
        state.rollouts.told.clear()
        result.records += 1
        for offset, payload in recorded.get(line.offset, ()):
            result.policies += 1
            policy = records.decode_policy(payload)
            if recompute(state, policy) != payload:
                result.different.append(Difference(offset, policy.service, policy.version))
    return result


def recompute(state: State, policy: Policy) -> bytes | None:
    """The policy as the state says it, None when the state has no such service."""
    service = state.services.get(policy.service)
    if service is None:
        return None
    split = state.rollouts.split(policy.service, tuple(v.name for v in service.declaration.variants))
    return records.encode(compute(service, split, policy.cursor, policy.created_at))
