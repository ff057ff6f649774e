"""Rollouts in the fold: the machine's inputs are records of the log, so every step follows from what is durable."""

from optimizer.core import records
from optimizer.core.judge import Outcome
from optimizer.core.judge.guardrail import values_of
from optimizer.core.rollout import Command, Notify, Observed, Rollout, RolloutSpec, Tick, admit, advance, start
from optimizer.core.rollout.state import ACTIVE
from optimizer.model import FailedPrecondition, FeedbackEvent, OptimizerError, Split

FINISHED = 1000  # finished rollouts kept in memory; the older ones stay as documents


class Rollouts:
    """Every rollout by id. `changed` are to be stored, `told` to be published, `refused` says why one never began."""

    def __init__(self, known: dict[str, Rollout] | None = None) -> None:
        self.known = known or {}
        self.active = {r.spec.service: r for r in self.known.values() if r.status in ACTIVE}
        self.changed: set[str] = set()
        self.told: list[Notify] = []
        self.refused: dict[str, OptimizerError] = {}

    def begin(self, record: records.RolloutStarted) -> Rollout | None:
        """Start it, unless the service has one under way or too many are; `refused` then says so.

        One that is known already is not begun again: whoever is unsure whether it was may ask twice.
        """
        if record.rollout_id in self.known:
            return None
        try:
            admit(record.spec, [r.spec for r in self.active.values()], record.most)
            rollout, effects = start(record.rollout_id, record.spec, record.salt, record.at, record.actor)
        except OptimizerError as error:
            self.refused = {record.rollout_id: error}
            return None
        self.known[rollout.id] = rollout
        self.active[rollout.spec.service] = rollout
        self.changed.add(rollout.id)
        self.told += [effect for effect in effects if isinstance(effect, Notify)]
        self._forget()
        return rollout

    def step(self, rollout_id: str, event: Command | Tick | Observed) -> Rollout | None:
        """Give the machine one input; the rollout when its status changed, else None."""
        rollout = self.known.get(rollout_id)
        if rollout is None:
            return None
        before = rollout.status
        try:
            effects = advance(rollout, event)
        except FailedPrecondition:
            return None  # two commands raced: the first in the log won, and the second has nothing to change
        self.changed.add(rollout_id)
        self.told += [effect for effect in effects if isinstance(effect, Notify)]
        if rollout.status not in ACTIVE and self.active.get(rollout.spec.service) is rollout:
            del self.active[rollout.spec.service]
        return rollout if rollout.status != before else None

    def split(self, service: str, variants: tuple[str, ...]) -> Split | None:
        """How the service's traffic should be split now."""
        rollout = self.active.get(service)
        if rollout is None or rollout.spec.candidate not in variants:
            return None
        return Split(rollout.id, variants.index(rollout.spec.candidate), rollout.share, rollout.salt)

    def _forget(self) -> None:
        finished = [r.id for r in self.known.values() if r.status not in ACTIVE]
        for rollout_id in finished[: max(0, len(finished) - FINISHED)]:
            if rollout_id not in self.changed:
                del self.known[rollout_id]


def outcome_of(event: FeedbackEvent, quality: float | None, segment: str, *, candidate: bool) -> Outcome:
    """What a finished call says about its arm."""
    values = values_of(event)
    if quality is not None:
        values["quality"] = quality
    return Outcome(
        candidate=candidate,
        values=values,
        at=event.received_at,
        segment=segment,
        fingerprint=event.response_model,
        price=event.cost_source,
    )


def promoted_baseline(spec: RolloutSpec, status: str, baseline: str) -> str:
    """The baseline of the service after a rollout has ended in `status`."""
    if status == "promoted":
        return spec.candidate
    if status == "rolled_back" and baseline == spec.candidate:
        return spec.baseline
    return baseline
