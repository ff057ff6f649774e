"""The fold: the whole state as a pure function of the log.

`apply` takes one record after the other. What changed since the last snapshot is collected in `changes`, so that a
snapshot writes only that; restoring it and applying the rest of the log gives the same bytes as the whole log does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from optimizer.core import records
from optimizer.core.assignment import AssignmentRef, parse
from optimizer.core.fold.calls import Arm, Call, Orphans, names_of
from optimizer.core.fold.rollouts import Rollouts, outcome_of, promoted_baseline
from optimizer.core.fold.service import UNATTRIBUTED, ServiceState
from optimizer.core.judge import Outcome
from optimizer.core.ledger import month_of
from optimizer.core.rollout import Command, Observed, Tick
from optimizer.model import FeedbackEvent, InvalidArgument, Policy, Score

QUALITY = "quality"


@dataclass(slots=True)
class Changes:
    """What is newer than the snapshot: to be written with the cursor in one transaction."""

    services: set[str] = field(default_factory=set)
    segments: set[tuple[str, str]] = field(default_factory=set)
    calls: dict[str, Call] = field(default_factory=dict)
    policies: dict[tuple[str, int], int] = field(default_factory=dict)
    ledger: set[tuple[str, str]] = field(default_factory=set)
    orphans: bool = False


class State:
    """Services and their evidence as of log offset `cursor`."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceState] = {}
        self.orphans = Orphans()
        self.cursor = 0
        self.rollouts = Rollouts()
        self.undeclared = 0
        self.changes = Changes()

    def apply(self, offset: int, kind: str, payload: bytes, calls: Mapping[str, Call]) -> Policy | str | None:
        """Fold one record. `calls` knows the calls named by the scores of this batch that are in the index already.

        Returns the policy that came into force, or the name of the service whose declaration changed, else None.
        """
        self.cursor = offset
        if kind == records.FEEDBACK:
            return self._feedback(offset, records.decode_feedback(payload))
        if kind == records.EXPOSURES:
            self._exposures(records.decode_exposures(payload))
        elif kind == records.SCORE:
            return self._score(offset, records.decode_score(payload), calls)
        elif kind == records.POLICY:
            return self._policy(offset, records.decode_policy(payload))
        elif kind == records.SERVICE:
            return self._declared(offset, records.decode_declared(payload))
        elif kind == records.ROLLOUT:
            return self._rollout(offset, records.decode_rollout(payload))
        return None

    def _declared(self, offset: int, declared: records.Declared) -> str | None:
        name = declared.name
        if declared.observed and name in self.services:
            return None
        if declared.service is None:
            withdrawn = self.services.pop(name, None)
            if withdrawn is not None:
                self.changes.segments.update((name, segment) for segment, _ in withdrawn.cells)
                self.changes.ledger.update((name, month) for month, _ in withdrawn.ledger)
        elif name in self.services:
            self.services[name].declare(declared.service, offset)
            self._cancel_orphaned(name, declared)
        else:
            self.services[name] = ServiceState(declared.service, offset)
        self.changes.services.add(name)
        return name

    def _cancel_orphaned(self, name: str, declared: records.Declared) -> None:
        """A rollout ends when its service no longer has the candidate, or another baseline."""
        rollout, service = self.rollouts.active.get(name), declared.service
        if rollout is None or service is None:
            return
        if service.index(rollout.spec.candidate) is None or service.baseline != rollout.spec.baseline:
            reason = "the service was declared without the candidate, or with another baseline"
            self.rollouts.step(rollout.id, Command(declared.at, "cancel", "system", reason))

    def _rollout(self, offset: int, record: records.RolloutRecord) -> str | None:
        if isinstance(record, records.RolloutStarted):
            rollout = self.rollouts.begin(record)
            return None if rollout is None else rollout.spec.service
        event = record.command if isinstance(record, records.RolloutCommand) else Tick(record.now)
        return self._step(offset, record.rollout_id, event)

    def _step(self, offset: int, rollout_id: str, event: Command | Tick | Observed) -> str | None:
        """One input of a rollout's machine; the service's name when its baseline changed with it."""
        rollout = self.rollouts.step(rollout_id, event)
        state = None if rollout is None else self.services.get(rollout.spec.service)
        if rollout is None or state is None:
            return None
        baseline = promoted_baseline(rollout.spec, rollout.status, state.declaration.baseline)
        if baseline == state.declaration.baseline or state.declaration.index(baseline) is None:
            return None
        state.declare(replace(state.declaration, baseline=baseline), offset)
        self.changes.services.add(state.declaration.name)
        return state.declaration.name

    def _policy(self, offset: int, policy: Policy) -> Policy | None:
        state = self.services.get(policy.service)
        if state is None or (state.policy is not None and policy.version <= state.policy.version):
            return None  # withdrawn meanwhile, or two planners raced: the first in the log won
        state.adopt(policy)
        self.changes.segments.update((policy.service, segment) for segment, _ in policy.stale)
        self.changes.services.add(policy.service)
        self.changes.policies[policy.service, policy.version] = offset
        return policy

    def _exposures(self, exposures: records.Exposures) -> None:
        state = self.services.get(exposures.service)
        if state is None:
            return
        for item in exposures.items:
            ref = parse(item.assignment_id)
            state.assigned[ref.reason] = state.assigned.get(ref.reason, 0) + 1
        self.changes.services.add(exposures.service)

    def _feedback(self, offset: int, event: FeedbackEvent) -> str | None:
        state = self.services.get(event.service)
        if state is None:
            self.undeclared += 1
            return None
        placed = place(state, event)
        segment, variant, arm = placed.segment, placed.variant, placed.arm
        names = names_of(event)
        quality = event.quality
        early = self.orphans.take(names)
        if early is not None:
            self.changes.orphans = True
            if early.name == QUALITY:
                quality = early.value
        state.count(event, segment, variant, quality)
        if placed.held_out is not None:
            state.account(event.occurred_at, segment).record(placed.held_out, event.cost_usd, quality)
            self.changes.ledger.add((event.service, month_of(event.occurred_at)))
        if names:
            call = Call(event.service, segment, variant, quality, event.occurred_at, arm, placed.held_out)
            for name in names:
                self.changes.calls[name] = call
        self.changes.services.add(event.service)
        self.changes.segments.add((event.service, segment))
        if arm is None or event.service not in self.rollouts.active:
            return None
        outcome = outcome_of(event, quality, segment, candidate=arm.candidate)
        return self._step(offset, arm.rollout_id, Observed(event.received_at, outcome, arm.share))

    def _score(self, offset: int, score: Score, calls: Mapping[str, Call]) -> str | None:
        names = names_of(score)
        found = next((c for name in names if (c := self.changes.calls.get(name) or calls.get(name)) is not None), None)
        if found is None:
            self.orphans.keep(score)
            self.changes.orphans = True
            return None
        state = self.services.get(found.service)
        if state is None:
            self.undeclared += 1
            return None
        state.score(score.name, found.segment, found.variant, score.value)
        if score.name == QUALITY:
            state.cell(found.segment, found.variant).judge(score.value, found.quality)
            state.since_policy += 1
            call = Call(
                found.service, found.segment, found.variant, score.value, found.occurred_at, found.arm, found.held_out
            )
            for name in names:
                self.changes.calls[name] = call
        self.changes.services.add(found.service)
        self.changes.segments.add((found.service, found.segment))
        if score.name == QUALITY and found.quality is not None:
            return None  # judge and ledger take the first judgement of a call: they cannot take one back
        if score.name == QUALITY and found.held_out is not None:
            account = state.account(found.occurred_at, found.segment)
            (account.holdout if found.held_out else account.treated).rate(score.value)
            self.changes.ledger.add((found.service, account.month))
        if found.arm is None:
            return None
        outcome = Outcome(
            candidate=found.arm.candidate,
            values={score.name: score.value},
            at=score.received_at,
            segment=found.segment,
            call=False,
        )
        return self._step(offset, found.arm.rollout_id, Observed(score.received_at, outcome, found.arm.share))


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a call belongs: its cell, its side of a rollout, and its side of the holdout (None: it was not drawn)."""

    segment: str
    variant: str
    arm: Arm | None = None
    held_out: bool | None = None


def place(state: ServiceState, event: FeedbackEvent) -> Placed:
    """As its assignment says, unless the event says that another variant ran: then the call is on no side."""
    ref: AssignmentRef | None = None
    if event.assignment_id is not None:
        try:
            ref = parse(event.assignment_id)
        except InvalidArgument:
            ref = None  # the intake refuses such ids; a log written before a format change may hold one
    if ref is None:
        return Placed(state.segment(event.context), event.variant or UNATTRIBUTED)
    assigned = state.variant_of(ref.policy_version, ref.variant)
    variant = event.variant or assigned or UNATTRIBUTED
    segment = state.known_segment(ref.segment)
    if variant != assigned:
        return Placed(segment, variant)
    held_out = ref.reason == "holdout" if state.declaration.holdout else None
    return Placed(segment, variant, state.arm_of(ref.policy_version, ref.reason), held_out)
