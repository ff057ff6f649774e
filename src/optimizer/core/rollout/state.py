"""What a rollout remembers, what can happen to it, and what it asks to be done."""

from typing import Literal

import msgspec

from optimizer.core.judge import Judge, Outcome, Verdict, open_judge
from optimizer.core.rollout.plan import RolloutSpec, check_spec

Status = Literal["running", "promoted", "rolled_back", "inconclusive", "paused", "cancelled"]
ACTIVE: frozenset[str] = frozenset({"running", "paused"})


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history with the numbers behind it. Times are microseconds since 1970 UTC, shares 0..1."""

    at: int
    event: str
    status: Status
    stage: int
    share: float
    reason: str
    actor: str
    calls: tuple[int, int]
    verdicts: tuple[Verdict, ...]


class Rollout(msgspec.Struct, kw_only=True):
    """A rollout's whole state; serialise it with msgspec. `calls` and `stage_calls` are [baseline, candidate].

    `progress` is the evidence used of `max_events`; `proven` remembers that every guardrail was shown to be kept
    before the last comparison ended; `awaiting` is the step that waits for an approval; `strata` are the sums that
    `effect` measures the impact from.
    """

    id: str
    spec: RolloutSpec
    salt: str
    status: Status
    stage: int
    created_at: int
    stage_at: int
    judge: Judge
    calls: list[int]
    stage_calls: list[int]
    progress: float = 0.0
    baseline_progress: float = 0.0
    paused_at: int | None = None
    paused_us: int = 0
    proven: bool = False
    awaiting: str | None = None
    finished_at: int | None = None
    history: list[Transition]
    strata: dict[str, dict[str, list[float]]] = msgspec.field(default_factory=dict)

    @property
    def share(self) -> float:
        """The candidate's share of the traffic now (0..1)."""
        if self.status == "promoted":
            return 1.0
        return self.spec.stages[self.stage] / 100.0 if self.status in ACTIVE else 0.0


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has come this far."""

    now: int


class Observed(msgspec.Struct, frozen=True, tag=True):
    """An outcome was folded; `share` is the candidate's share when its arm was chosen, None for the present one."""

    now: int
    outcome: Outcome
    share: float | None = None


class Command(msgspec.Struct, frozen=True, tag=True):
    """Somebody asked for something."""

    now: int
    action: Literal["pause", "resume", "cancel", "approve", "rollback"]
    actor: str
    reason: str = ""


Input = Tick | Observed | Command


class Route(msgspec.Struct, frozen=True, tag=True):
    """Serve the candidate to this share of the service's traffic (0: nobody, 1:
    it is the new baseline once `settled`).
    """

    service: str
    rollout_id: str
    candidate: str
    share: float
    salt: str
    settled: bool


class Notify(msgspec.Struct, frozen=True, tag=True):
    """Tell whoever listens about a transition."""

    service: str
    rollout_id: str
    transition: Transition


Effect = Route | Notify


def start(
    rollout_id: str, spec: RolloutSpec, salt: str, now: int, actor: str = ""
) -> tuple[Rollout, tuple[Effect, ...]]:
    """A new rollout at its first stage, and what to do once it is stored.
    Raises InvalidArgument for a bad request.
    """
    check_spec(spec)
    spec = msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=RolloutSpec)
    rollout = Rollout(
        id=rollout_id,
        spec=spec,
        salt=salt,
        status="running",
        stage=0,
        created_at=now,
        stage_at=now,
        judge=open_judge(spec.judge()),
        calls=[0, 0],
        stage_calls=[0, 0],
        history=[],
    )
    first = Transition(
        at=now,
        event="started",
        status="running",
        stage=0,
        share=rollout.share,
        reason="",
        actor=actor,
        calls=(0, 0),
        verdicts=(),
    )
    rollout.history.append(first)
    return rollout, (route_of(rollout), Notify(spec.service, rollout_id, first))


def route_of(rollout: Rollout) -> Route:
    """How the traffic of the service should be split now."""
    spec = rollout.spec
    return Route(spec.service, rollout.id, spec.candidate, rollout.share, rollout.salt, rollout.status not in ACTIVE)
