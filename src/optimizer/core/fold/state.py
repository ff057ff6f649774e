"""The fold: the whole state as a pure function of the log.

`apply` takes one record after the other. What changed since the last snapshot is collected in `changes`, so that a
snapshot writes only that; restoring it and applying the rest of the log gives the same bytes as the whole log does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.core import records
from optimizer.core.assignment import AssignmentRef, parse
from optimizer.core.fold.calls import Call, Orphans, names_of
from optimizer.core.fold.service import UNATTRIBUTED, ServiceState
from optimizer.model import FeedbackEvent, InvalidArgument, Policy, Score

QUALITY = "quality"


@dataclass(slots=True)
class Changes:
    """What is newer than the snapshot: to be written with the cursor in one transaction."""

    services: set[str] = field(default_factory=set)
    segments: set[tuple[str, str]] = field(default_factory=set)
    calls: dict[str, Call] = field(default_factory=dict)
    policies: dict[tuple[str, int], int] = field(default_factory=dict)
    orphans: bool = False


class State:
    """Services and their evidence as of log offset `cursor`."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceState] = {}
        self.orphans = Orphans()
        self.cursor = 0
        self.undeclared = 0
        self.changes = Changes()

    def apply(self, offset: int, kind: str, payload: bytes, calls: Mapping[str, Call]) -> Policy | str | None:
        """Fold one record. `calls` knows the calls named by the scores of this batch that are in the index already.

        Returns the policy that came into force, or the name of the service whose declaration changed, else None.
        """
        self.cursor = offset
        if kind == records.FEEDBACK:
            self._feedback(records.decode_feedback(payload))
        elif kind == records.EXPOSURES:
            self._exposures(records.decode_exposures(payload))
        elif kind == records.SCORE:
            self._score(records.decode_score(payload), calls)
        elif kind == records.POLICY:
            return self._policy(offset, records.decode_policy(payload))
        elif kind == records.SERVICE:
            return self._declared(offset, records.decode_declared(payload))
        return None

    def _declared(self, offset: int, declared: records.Declared) -> str:
        name = declared.name
        if declared.service is None:
            withdrawn = self.services.pop(name, None)
            if withdrawn is not None:
                self.changes.segments.update((name, segment) for segment, _ in withdrawn.cells)
        elif name in self.services:
            self.services[name].declare(declared.service, offset)
        else:
            self.services[name] = ServiceState(declared.service, offset)
        self.changes.services.add(name)
        return name

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

    def _feedback(self, event: FeedbackEvent) -> None:
        state = self.services.get(event.service)
        if state is None:
            self.undeclared += 1
            return
        segment, variant = place(state, event)
        names = names_of(event)
        quality = event.quality
        early = self.orphans.take(names)
        if early is not None:
            self.changes.orphans = True
            if early.name == QUALITY:
                quality = early.value
        state.count(event, segment, variant, quality)
        if names:
            call = Call(event.service, segment, variant, quality, event.occurred_at)
            for name in names:
                self.changes.calls[name] = call
        self.changes.services.add(event.service)
        self.changes.segments.add((event.service, segment))

    def _score(self, score: Score, calls: Mapping[str, Call]) -> None:
        names = names_of(score)
        found = next((c for name in names if (c := self.changes.calls.get(name) or calls.get(name)) is not None), None)
        if found is None:
            self.orphans.keep(score)
            self.changes.orphans = True
            return
        state = self.services.get(found.service)
        if state is None:
            self.undeclared += 1
            return
        state.score(score.name, found.segment, found.variant, score.value)
        if score.name == QUALITY:
            state.cell(found.segment, found.variant).judge(score.value, found.quality)
            state.since_policy += 1
            call = Call(found.service, found.segment, found.variant, score.value, found.occurred_at)
            for name in names:
                self.changes.calls[name] = call
        self.changes.services.add(found.service)
        self.changes.segments.add((found.service, found.segment))


def place(state: ServiceState, event: FeedbackEvent) -> tuple[str, str]:
    """The segment and variant of a call: those of its assignment, unless the event says that another variant ran."""
    ref: AssignmentRef | None = None
    if event.assignment_id is not None:
        try:
            ref = parse(event.assignment_id)
        except InvalidArgument:
            ref = None  # the intake refuses such ids; a log written before a format change may hold one
    segment = state.known_segment(ref.segment) if ref is not None else state.segment(event.context)
    variant = event.variant
    if variant is None and ref is not None:
        variant = state.variant_of(ref.policy_version, ref.variant)
    return segment, UNATTRIBUTED if variant is None else variant
