"""Rollouts for the front doors: begin, read, command. Every answer is given after the fold has taken the record in."""

from collections.abc import Callable
from typing import Literal

import msgspec

from optimizer.core import records
from optimizer.core.declaration import check
from optimizer.core.fold import State, snapshot
from optimizer.core.rollout import Command, Rollout, RolloutSpec, admit, apply, check_spec, describe, explain
from optimizer.model import Conflict, InvalidArgument, NotFound, Service, Variant
from optimizer.processor.progress import Progress
from optimizer.storage import Record, Store

MOST = (
    100  # rollouts under way at once; each holds about 50 KB and costs some microseconds of every call of its service
)

Action = Literal["pause", "resume", "cancel", "approve", "rollback"]


class RolloutDesk:
    """Begins and steers rollouts. Reads answer from the fold's state, older ones from their documents."""

    def __init__(
        self,
        store: Store,
        state: State,
        progress: Progress,
        *,
        now: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._state = state
        self._progress = progress
        self._now = now
        self._new_id = new_id

    async def begin(
        self, spec: RolloutSpec, actor: str, *, rollout_id: str | None = None, added: Variant | None = None
    ) -> Rollout:
        """Begin a rollout; durable, and its first stage decided, when this returns.

        `added` is a variant that the service gets with it: both are one append, so it serves nobody before the
        rollout does. Whoever chose the `rollout_id` may call again with it after a crash, once `get` does not find it.
        Raises NotFound, InvalidArgument, Conflict (one is under way for the service), ResourceExhausted.
        """
        service = self.declaration(spec.service)
        if added is not None and service.index(added.name) is None:
            service = msgspec.structs.replace(service, variants=(*service.variants, added))
            check(service)
        else:
            added = None
        if service.index(spec.candidate) is None:
            raise InvalidArgument(f"service {spec.service!r} has no variant {spec.candidate!r}", field="candidate")
        check_spec(spec)
        self.admit(spec)
        rollout_id = rollout_id or self._new_id()
        # A salt of its own: who sees this candidate is independent of who saw the ones before.
        started = records.RolloutStarted(rollout_id, spec, f"rollout/{rollout_id}", self._now(), actor, MOST)
        declared = records.Declared(spec.service, self._now(), service)
        await self._append(spec.service, *([] if added is None else [declared]), started)
        rollout = self._state.rollouts.known.get(rollout_id)
        if rollout is None:
            raise self._state.rollouts.refused.get(rollout_id) or Conflict("another rollout was begun meanwhile")
        await self._progress.until(lambda: self._served(rollout))
        return rollout

    async def command(self, rollout_id: str, action: Action, actor: str, reason: str = "") -> Rollout:
        """Pause, resume, cancel, approve or roll back; durable when this returns.

        Raises NotFound, FailedPrecondition when the status does not allow it.
        """
        rollout = await self.get(rollout_id)
        command = Command(self._now(), action, actor, reason)
        apply(rollout, command)  # refused before anything is written
        await self._append(rollout.spec.service, records.RolloutCommand(rollout_id, command))
        rollout = await self.get(rollout_id)
        await self._progress.until(lambda: self._served(rollout))
        return rollout

    async def get(self, rollout_id: str) -> Rollout:
        """The rollout as folded so far. Raises NotFound."""
        rollout = self._state.rollouts.known.get(rollout_id)
        if rollout is not None:
            return rollout
        document = await self._store.get(snapshot.ROLLOUTS + rollout_id) if len(rollout_id) <= 64 else None
        if document is None:
            raise NotFound(f"there is no rollout {rollout_id!r}")
        return snapshot.decode_rollout(document.body)

    def list(self, service: str | None = None) -> list[Rollout]:
        """The rollouts in memory (all that are under way, the last thousand of the others), newest first."""
        found = [r for r in self._state.rollouts.known.values() if service in (None, r.spec.service)]
        return sorted(found, key=lambda r: (r.created_at, r.id), reverse=True)

    def describe(self, rollout: Rollout) -> dict[str, object]:
        """The rollout as JSON."""
        return describe(rollout, self._now())

    async def explain(self, rollout_id: str) -> dict[str, object]:
        """Its history in sentences with the numbers behind them. Raises NotFound."""
        return {"id": rollout_id, "sentences": list(explain(await self.get(rollout_id)))}

    def baseline(self, service: str) -> str:
        """What a candidate of the service is compared with. Raises NotFound."""
        return self.declaration(service).baseline

    def declaration(self, service: str) -> Service:
        """The service as declared. Raises NotFound."""
        state = self._state.services.get(service)
        if state is None:
            raise NotFound(f"service {service!r} is not declared")
        return state.declaration

    def admit(self, spec: RolloutSpec) -> None:
        """Return when the rollout could begin now. Raises Conflict, ResourceExhausted."""
        admit(spec, [r.spec for r in self._state.rollouts.active.values()], MOST)

    async def _append(self, service: str, *wanted: records.RolloutRecord | records.Declared) -> None:
        entries = [
            Record(
                kind=records.SERVICE if isinstance(each, records.Declared) else records.ROLLOUT,
                key=service,
                payload=records.encode(each),
            )
            for each in wanted
        ]
        await self._progress.reach((await self._store.append(entries)).offsets[-1])

    def _served(self, rollout: Rollout) -> bool:
        """Whether the policy in force has the split that the rollout asks for, so that `decide` follows it."""
        state = self._state.services.get(rollout.spec.service)
        if state is None or state.policy is None:
            return True
        wanted = self._state.rollouts.split(rollout.spec.service, state.policy.variants)
        return state.policy.split == wanted and state.policy.cursor >= state.revision
