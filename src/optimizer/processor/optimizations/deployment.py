"""Deploying an optimization: a rollout of the variant that has its changes, and what became of it.

Statuses: pending, deploying while the rollout is under way, then deployed, rolled_back, cancelled or deployment_failed
(inconclusive, or never begun). The link to the rollout is the metadata "rollout".
"""

from decimal import Decimal

import msgspec
import structlog
import trio

from optimizer.core.declaration import check
from optimizer.core.history import Kind, Tally, total
from optimizer.core.rollout import Rollout, RolloutSpec
from optimizer.core.rollout.plan import DEFAULT_STAGES
from optimizer.model import (
    FailedPrecondition,
    InvalidArgument,
    MeasuredImpact,
    NotFound,
    Optimization,
    OptimizerError,
    Service,
    StorageUnavailable,
    Variant,
)
from optimizer.model.optimizations import Status
from optimizer.processor.chronicle import Chronicle
from optimizer.processor.optimizations.evidence import apply_changes, records_of
from optimizer.processor.optimizations.optimizations import CANCELLABLE, Knowledge, Optimizations, Selection
from optimizer.processor.registry import Registry
from optimizer.processor.rollouts import RolloutDesk

LINK = "rollout"
OUTCOMES: dict[str, Status] = {
    "promoted": "deployed",
    "rolled_back": "rolled_back",
    "cancelled": "cancelled",
    "inconclusive": "deployment_failed",
}
AT_MOST_EVERY_S = 0.25  # how often rollouts are compared with the optimizations that they belong to
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Deployments:
    """Deploys and rolls back, and follows the rollouts of deploying optimizations."""

    def __init__(
        self, optimizations: Optimizations, registry: Registry, desk: RolloutDesk, chronicle: Chronicle
    ) -> None:
        self._optimizations = optimizations
        self._registry = registry
        self._desk = desk
        self._chronicle = chronicle
        self._following: dict[str, str] = {}
        self._lock = trio.Lock()
        self._knowledge = Knowledge(
            lambda: {service.name: service for service in registry.list()},
            lambda name: records_of(registry.report(name)),
        )

    async def deploy(
        self, optimization_id: str, *, by: str, force: bool, percentage: float | None
    ) -> tuple[Optimization, str]:
        """Begin the rollout; the optimization and the rollout's id.

        `percentage` is the first stage (0: the default stages; None: all traffic at once). `force` skips validation.
        Raises NotFound, FailedPrecondition, InvalidArgument, Conflict.
        """
        found = await self._optimizations.get(optimization_id)
        stages = _stages(percentage)
        service = self._target(found)
        if not force:
            validation = await self._optimizations.validate(optimization_id, self._knowledge, dry_run=True)
            if not validation.valid:
                raise FailedPrecondition("; ".join(finding.message for finding in validation.errors))

        def claim(now: Optimization) -> Optimization:
            if now.status not in CANCELLABLE:
                raise FailedPrecondition(f"optimization {now.id} is {now.status} already")
            return msgspec.structs.replace(now, status="deploying", metadata={**now.metadata, "deployed_by": by})

        await self._optimizations.change(optimization_id, claim, f"deploying, asked for by {by}")
        try:
            candidate = await self._variant(service, found)
            spec = RolloutSpec(service=service.name, baseline=service.baseline, candidate=candidate, stages=stages)
            rollout = await self._desk.begin(spec, by)
        except OptimizerError as error:
            await self._fail(optimization_id, str(error))
            raise
        linked = await self._optimizations.change(
            optimization_id, lambda now: _with(now, rollout=rollout.id), f"rollout {rollout.id} has begun"
        )
        self._following[optimization_id] = rollout.id
        return linked, rollout.id

    async def roll_back(self, optimization_id: str, *, by: str, reason: str) -> Optimization:
        """Take the rollout back while it is under way. Raises NotFound, FailedPrecondition."""
        found = await self._optimizations.get(optimization_id)
        rollout_id = found.metadata.get(LINK)
        if rollout_id is None or found.status != "deploying":
            what = "is promoted: declare the former baseline again" if found.status == "deployed" else "has no rollout"
            raise FailedPrecondition(f"optimization {found.id} is {found.status}; it {what}")
        rollout = await self._desk.command(rollout_id, "rollback", by, reason)
        await self._take_over(optimization_id, rollout)
        return await self._optimizations.get(optimization_id)

    async def recover(self) -> None:
        """Find what was deploying when the process ended. A deployment whose rollout never began has failed."""
        for found in await self._optimizations.select(Selection(statuses=frozenset({"deploying"}))):
            if LINK in found.metadata:
                self._following[found.id] = found.metadata[LINK]
            else:
                await self._fail(found.id, "the server stopped before the rollout began")

    async def run(self) -> None:
        """Take over how rollouts end. Runs until cancelled; a store that is away is waited for."""
        while True:
            try:
                for optimization_id, rollout_id in list(self._following.items()):
                    rollout = await self._desk.get(rollout_id)
                    if rollout.status in OUTCOMES:
                        await self._take_over(optimization_id, rollout)
            except StorageUnavailable as error:
                log.warning("deployments wait for storage", error=str(error))
                await trio.sleep(RETRY_S)
            await trio.sleep(AT_MOST_EVERY_S)

    def _target(self, found: Optimization) -> Service:
        if len(found.target_services) != 1:
            raise FailedPrecondition("an optimization is deployed for one service; make one for each")
        try:
            return self._registry.get(found.target_services[0])
        except NotFound as error:
            raise FailedPrecondition(str(error)) from error

    async def _variant(self, service: Service, found: Optimization) -> str:
        """The variant with the changes made; declared when there is none yet."""
        baseline = next(variant for variant in service.variants if variant.name == service.baseline)
        config = apply_changes(baseline.config, found.changes)
        for variant in service.variants:
            if variant.config == config:
                return variant.name
        name = f"opt-{found.id}"
        made = msgspec.structs.replace(service, variants=(*service.variants, Variant(name=name, config=config)))
        check(made)
        await self._registry.declare(made)
        return name

    async def _take_over(self, optimization_id: str, rollout: Rollout) -> None:
        """Give the optimization the outcome of its rollout, once."""
        async with self._lock:
            found = await self._optimizations.get(optimization_id)
            self._following.pop(optimization_id, None)
            if found.status != "deploying":
                return
            status, at = OUTCOMES[rollout.status], rollout.finished_at
            impact = await self._measure(rollout)

            def plan(now: Optimization) -> Optimization:
                deployed = at if status == "deployed" else now.deployed_at
                back = at if status == "rolled_back" else now.rolled_back_at
                return msgspec.structs.replace(
                    now, status=status, deployed_at=deployed, rolled_back_at=back, actual_impact=impact
                )

            why = rollout.history[-1].reason
            said = f"rollout {rollout.status.replace('_', ' ')}" + (f": {why}" if why else "")
            await self._optimizations.change(optimization_id, plan, said)

    async def _measure(self, rollout: Rollout) -> MeasuredImpact:
        """Candidate against baseline over the whole minutes (later hours) that the rollout touched."""
        history = await self._chronicle.fresh()
        start, end = rollout.created_at, (rollout.finished_at or rollout.created_at) + 1
        spec = rollout.spec

        def of(variant: str) -> Tally:
            def wanted(kind: Kind) -> bool:
                return kind.service == spec.service and kind.variant == variant

            return total(history.calls, start, end, wanted)[0]

        candidate, baseline = of(spec.candidate), of(spec.baseline)
        cost = percent(_float(baseline.mean_cost()), _float(candidate.mean_cost()))
        return MeasuredImpact(
            measured_from=start,
            measured_until=end - 1,
            requests_affected=rollout.calls[1],
            cost_reduction_pct=None if cost is None else -cost,
            quality_delta_pct=percent(baseline.mean_score("quality"), candidate.mean_score("quality")),
            latency_delta_pct=percent(baseline.mean_latency(), candidate.mean_latency()),
        )

    async def _fail(self, optimization_id: str, why: str) -> None:
        def plan(now: Optimization) -> Optimization:
            return msgspec.structs.replace(now, status="deployment_failed")

        await self._optimizations.change(optimization_id, plan, f"not deployed: {why}")


def percent(before: float | None, after: float | None) -> float | None:
    """The change in percent of what was before; None when it cannot be told."""
    return None if before is None or after is None or before == 0 else 100 * (after - before) / before


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _stages(percentage: float | None) -> tuple[float, ...]:
    if percentage is None or percentage == 100:
        return (100.0,)
    if not 0 <= percentage < 100:
        raise InvalidArgument("a percentage lies between 0 and 100", field="canary_percentage")
    return (percentage, 100.0) if percentage else DEFAULT_STAGES


def _with(found: Optimization, **metadata: str) -> Optimization:
    return msgspec.structs.replace(found, metadata={**found.metadata, **metadata})
