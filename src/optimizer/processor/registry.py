"""Declared services: declare, withdraw, list, report, explain. Reads answer from the fold's state."""

from collections.abc import Callable

from optimizer.core import explain, records
from optimizer.core.assignment import verify
from optimizer.core.fold import State, report, snapshot
from optimizer.model import NotFound, Policy, Service
from optimizer.processor.decider import Decider
from optimizer.processor.progress import Progress
from optimizer.storage import Record, Store


class Registry:
    """The services and what is known about them."""

    def __init__(
        self,
        store: Store,
        state: State,
        decider: Decider,
        progress: Progress,
        *,
        keys: tuple[bytes, ...],
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._state = state
        self._decider = decider
        self._progress = progress
        self._keys = keys
        self._now = now

    async def declare(self, service: Service) -> Service:
        """Declare or redeclare; returns when the declaration is durable and `decide` follows it."""
        current = self._state.services.get(service.name)
        if current is not None and current.declaration == service:
            return service
        offset = await self._append(records.Declared(service.name, self._now(), service))
        await self._progress.until(lambda: self._serves(service.name, offset))
        return service

    async def withdraw(self, name: str) -> None:
        """Forget the service; its log stays. Raises NotFound."""
        self.get(name)
        offset = await self._append(records.Declared(name, self._now(), None))
        await self._progress.reach(offset)

    def get(self, name: str) -> Service:
        """The declaration. Raises NotFound."""
        state = self._state.services.get(name)
        if state is None:
            raise NotFound(f"service {name!r} is not declared")
        return state.declaration

    def revision(self, name: str) -> int:
        """The version of the declaration: it rises at every change. 0 for a service that is not declared."""
        state = self._state.services.get(name)
        return 0 if state is None else state.revision

    def list(self) -> list[Service]:
        """All declarations, by name."""
        return [state.declaration for _, state in sorted(self._state.services.items())]

    def report(self, name: str, segment_by: str | None = None) -> dict[str, object]:
        """What has been folded for the service so far. Raises NotFound, InvalidArgument."""
        state = self._state.services.get(name)
        if state is None:
            raise NotFound(f"service {name!r} is not declared")
        return report(state, segment_by)

    async def explain(self, name: str, assignment_id: str) -> dict[str, object]:
        """Candidates, probabilities and choice of one assignment, from the stored policy version. Raises NotFound."""
        ref = verify(self._keys, assignment_id)
        if ref.service != name:
            raise NotFound(f"service {name!r} has no such assignment")
        return explain.explain(ref, await self.policy(name, ref.policy_version))

    async def policy(self, name: str, version: int) -> Policy:
        """A policy version as recorded in the log. Raises NotFound."""
        current = self._decider.policy(name)
        if current is not None and current.version == version:
            return current
        offset = self._state.changes.policies.get((name, version))
        if offset is None:
            document = await self._store.get(snapshot.policy_key(name, version))
            if document is None:
                raise NotFound(f"service {name!r} has no policy version {version}")
            offset = int(document.body)
        (entry,) = await self._store.read(offset - 1, 1)
        return records.decode_policy(entry.payload)

    async def _append(self, declared: records.Declared) -> int:
        record = Record(kind=records.SERVICE, key=declared.name, payload=records.encode(declared))
        (offset,) = (await self._store.append([record])).offsets
        if offset is None:
            raise AssertionError("a record without idempotency key cannot be a duplicate")
        return offset

    def _serves(self, name: str, offset: int) -> bool:
        policy = self._decider.policy(name)
        withdrawn = self._progress.get() >= offset and name not in self._state.services
        return withdrawn or (policy is not None and policy.cursor >= offset)
