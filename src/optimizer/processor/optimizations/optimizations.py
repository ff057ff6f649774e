"""The stored optimizations: create, get, select, validate, cancel, each change durable and then published."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from optimizer.bus import Topic
from optimizer.model import (
    Conflict,
    FailedPrecondition,
    NotFound,
    Optimization,
    OptimizationChange,
    Service,
)
from optimizer.model.optimizations import Status
from optimizer.processor.optimizations.evidence import VariantRecord
from optimizer.processor.optimizations.proposals import Proposal, check_proposal
from optimizer.processor.optimizations.validation import Finding, Validation, validate
from optimizer.storage import ABSENT, Put, Store

PREFIX = "optimizations/"
ATTEMPTS = 8
CANCELLABLE: frozenset[Status] = frozenset({"pending", "validating", "validation_failed"})
DEPLOYED: frozenset[Status] = frozenset({"deploying", "deployed", "monitoring"})

_decode = msgspec.json.Decoder(Optimization).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which optimizations; an empty or None filter lets everything pass. Times are microseconds, `end` exclusive."""

    statuses: frozenset[str] = frozenset()
    strategies: frozenset[str] = frozenset()
    service: str | None = None
    start: int | None = None
    end: int | None = None

    def takes(self, found: Optimization) -> bool:
        """Whether every filter lets it pass."""
        return (
            (not self.statuses or found.status in self.statuses)
            and (not self.strategies or found.strategy in self.strategies)
            and (self.service is None or self.service in found.target_services)
            and (self.start is None or found.created_at >= self.start)
            and (self.end is None or found.created_at < self.end)
        )


Gates = Callable[[Optimization], Awaitable[tuple[Sequence[Finding], Sequence[str]]]]
"""Further checks, which may have to read: errors, and warnings."""


class Knowledge:
    """What validation needs to know: the declared services and the records of their variants."""

    def __init__(
        self,
        services: Callable[[], Mapping[str, Service]],
        records: Callable[[str], Mapping[str, VariantRecord]],
    ) -> None:
        self.services = services
        self.records = records


class Optimizations:
    """Ids rise with creation time, so key order is age order. `new_id` must give such ids, never one twice."""

    def __init__(
        self,
        store: Store,
        changes: Topic[OptimizationChange],
        *,
        now: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._changes = changes
        self._now = now
        self._new_id = new_id

    async def create(
        self,
        proposal: Proposal,
        *,
        by: str,
        dry_run: bool = False,
        beside: Callable[[Optimization], Put] | None = None,
    ) -> Optimization:
        """Store a proposal with status pending; with `dry_run` only say what would be.

        `beside` gives a document that is written in the same transaction. Raises InvalidArgument, and Conflict when
        that document is not as expected; then nothing is stored.
        """
        check_proposal(proposal)
        made = Optimization(
            id=self._new_id(),
            created_at=self._now(),
            strategy=proposal.strategy,
            target_services=proposal.target_services,
            changes=proposal.changes,
            rationale=proposal.rationale,
            expected_impact=proposal.expected_impact,
            constraints=proposal.constraints,
            metadata={**proposal.metadata, "created_by": by},
        )
        if not dry_run:
            puts = [Put(key=PREFIX + made.id, body=msgspec.json.encode(made), expected=ABSENT)]
            await self._store.commit(puts if beside is None else [*puts, beside(made)])
            await self._publish(made, "created")
        return made

    async def get(self, optimization_id: str) -> Optimization:
        """The optimization. Raises NotFound."""
        return (await self._read(optimization_id))[0]

    async def select(self, selection: Selection) -> list[Optimization]:
        """Every optimization that passes the filters, newest first."""
        found: list[Optimization] = []
        after = ""
        while page := await self._store.scan(PREFIX, after=after):
            found += [each for each in (_decode(document.body) for document in page) if selection.takes(each)]
            after = page[-1].key
        found.sort(key=lambda each: (each.created_at, each.id), reverse=True)
        return found

    async def validate(
        self, optimization_id: str, knowledge: Knowledge, *, dry_run: bool, gates: Gates | None = None
    ) -> Validation:
        """Check it; unless `dry_run`, the outcome is kept: pending when valid, validation_failed when not.

        `gates` are asked as well. Raises NotFound, and FailedPrecondition when it is past validation (without
        `dry_run`).
        """
        found = await self.get(optimization_id)
        outcome = await self.check(found, knowledge, gates)
        if dry_run:
            return outcome

        def plan(now: Optimization) -> Optimization:
            if now.status not in CANCELLABLE:
                raise FailedPrecondition(
                    f"optimization {now.id} is {now.status}; only before deployment it is validated"
                )
            status: Status = "pending" if outcome.valid else "validation_failed"
            revised = outcome.revised_impact or now.expected_impact
            metadata = {**now.metadata, "validated_at": str(self._now())}
            return msgspec.structs.replace(now, status=status, expected_impact=revised, metadata=metadata)

        said = "valid" if outcome.valid else "; ".join(finding.message for finding in outcome.errors)
        await self.change(optimization_id, plan, f"validated: {said}")
        return outcome

    async def check(self, found: Optimization, knowledge: Knowledge, gates: Gates | None = None) -> Validation:
        """What validation says now; nothing is kept."""
        outcome = _validate(found, knowledge)
        if gates is None:
            return outcome
        findings, warnings = await gates(found)
        return Validation(
            errors=(*outcome.errors, *findings),
            warnings=(*outcome.warnings, *warnings),
            revised_impact=outcome.revised_impact,
        )

    async def cancel(self, optimization_id: str, *, by: str, reason: str) -> Optimization:
        """Cancel before deployment. Raises NotFound, FailedPrecondition."""

        def plan(now: Optimization) -> Optimization:
            if now.status in DEPLOYED:
                raise FailedPrecondition(f"optimization {now.id} is {now.status}; roll it back instead")
            if now.status not in CANCELLABLE:
                raise FailedPrecondition(f"optimization {now.id} is {now.status} already")
            metadata = {**now.metadata, "cancelled_by": by, "cancel_reason": reason}
            return msgspec.structs.replace(now, status="cancelled", metadata=metadata)

        return await self.change(optimization_id, plan, f"cancelled: {reason}" if reason else "cancelled")

    async def change(
        self, optimization_id: str, plan: Callable[[Optimization], Optimization], message: str
    ) -> Optimization:
        """Replace an optimization by what `plan` makes of it; planned again when somebody else was faster."""
        for attempt in range(ATTEMPTS):
            before, revision = await self._read(optimization_id)
            after = plan(before)
            put = Put(key=PREFIX + after.id, body=msgspec.json.encode(after), expected=revision)
            try:
                await self._store.commit([put])
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            await self._publish(after, message)
            return after
        raise AssertionError("the last attempt returns or raises")

    async def _read(self, optimization_id: str) -> tuple[Optimization, int]:
        # An id with a slash, or a very long one, names nothing; it must not reach another document either.
        plausible = 0 < len(optimization_id) <= 64 and optimization_id.isascii() and "/" not in optimization_id
        document = await self._store.get(PREFIX + optimization_id) if plausible else None
        if document is None:
            raise NotFound(f"no optimization {optimization_id[:64]!r}")
        return _decode(document.body), document.version

    async def _publish(self, optimization: Optimization, message: str) -> None:
        await self._changes.publish(OptimizationChange(optimization=optimization, message=message, at=self._now()))


def _validate(found: Optimization, knowledge: Knowledge) -> Validation:
    services = knowledge.services()
    records = {name: knowledge.records(name) for name in found.target_services if name in services}
    return validate(found, services, records)
