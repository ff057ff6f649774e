"""Deployments of optimizations: each becomes rollouts, and its status follows them.

What is to happen is kept in the optimization's document first and carried out then, every part of it so that doing it
again changes nothing; whoever finds a document that is not carried out yet (after a crash, or because the caller
went away) goes on with it.
"""

from collections.abc import Callable
from contextlib import suppress

import structlog
import trio
from msgspec.structs import replace

from optimizer.bus import News, Overflow
from optimizer.core.rollout import Notify, Rollout
from optimizer.model import (
    Conflict,
    Deployment,
    FailedPrecondition,
    NotFound,
    Optimization,
    OptimizerError,
    Step,
    StorageUnavailable,
    Variant,
    Wish,
)
from optimizer.processor.deployments.gates import OVERRULED, Gatekeeper
from optimizer.processor.optimizations import Optimizations, Selection, Terms, Validation, plan_rollout, plan_step
from optimizer.processor.optimizations.optimizations import CANCELLABLE
from optimizer.processor.optimizations.progress import OPEN, conclude, conclusion, decide_wish
from optimizer.processor.registry import Registry
from optimizer.processor.rollouts import RolloutDesk

RETRY_S = 1.0
TICK_S = 5.0  # how long a rollout's step may go unnoticed when its notice was dropped
NOTICES = 64  # waking up once is enough for any number of them

log = structlog.get_logger(__name__)


class Deployments:
    """Deploys, rolls back, cancels and validates optimizations; `run` follows those under way."""

    def __init__(
        self,
        optimizations: Optimizations,
        registry: Registry,
        desk: RolloutDesk,
        gatekeeper: Gatekeeper,
        news: News,
        *,
        now: Callable[[], int],
        new_id: Callable[[], str],
        terms: Terms,
    ) -> None:
        self._optimizations = optimizations
        self._registry = registry
        self._desk = desk
        self._gatekeeper = gatekeeper
        self._news = news
        self._now = now
        self._new_id = new_id
        self._terms = terms
        self._lock = trio.Lock()  # one at a time: the caller and the task may both want to carry out the same
        self._open: set[str] = set()

    async def deploy(
        self, optimization_id: str, *, by: str, stages: tuple[float, ...], force: bool = False
    ) -> Optimization:
        """Deploy in stages (percent of the traffic); its rollouts have begun when this returns.

        Raises NotFound, FailedPrecondition (it is deployed already, or validation speaks against it; `force`
        overrules the evidence alone), InvalidArgument, Conflict, ResourceExhausted; then nothing has begun.
        """
        async with self._lock:
            found = await self._optimizations.get(optimization_id)
            _demand_undeployed(found)
            outcome = await self._optimizations.check(found, self._gatekeeper.knowledge, self._gatekeeper.ask)
            refused = [f for f in outcome.errors if not (force and f.code in OVERRULED)]
            if refused:
                kind = Conflict if {f.code for f in refused} == {"CONFLICT"} else FailedPrecondition
                raise kind("; ".join(finding.message for finding in refused))
            steps = tuple(plan_step(self._registry.get(name), found, self._new_id()) for name in found.target_services)
            for step in steps:
                self._desk.admit(plan_rollout(step, stages, found.constraints, self._terms))
            deployment = Deployment(
                steps=steps, stages=stages, by=by, requested_at=self._now(), forced=bool(outcome.errors)
            )

            def plan(now: Optimization) -> Optimization:
                _demand_undeployed(now)
                return replace(now, status="deploying", deployment=deployment)

            overruled = "; overruled: " + "; ".join(f.message for f in outcome.errors) if outcome.errors else ""
            await self._optimizations.change(optimization_id, plan, f"deployment asked for by {by}{overruled}")
            self._open.add(optimization_id)
            return await self._carry_out(optimization_id)

    async def rollback(self, optimization_id: str, *, by: str, reason: str) -> Optimization:
        """Take a deployment back, also a completed one; nobody is served the change any more when this returns.

        Raises NotFound, FailedPrecondition.
        """
        return await self._wish(optimization_id, Wish(action="rollback", by=by, reason=reason))

    async def cancel(self, optimization_id: str, *, by: str, reason: str) -> Optimization:
        """Cancel before or during deployment. Raises NotFound, FailedPrecondition."""
        found = await self._optimizations.get(optimization_id)
        if found.deployment is None:
            return await self._optimizations.cancel(optimization_id, by=by, reason=reason)
        return await self._wish(optimization_id, Wish(action="cancel", by=by, reason=reason))

    async def validate(self, optimization_id: str, *, dry_run: bool) -> Validation:
        """The checks that deploying would make; see `Optimizations.validate`."""
        asked = self._gatekeeper
        return await self._optimizations.validate(optimization_id, asked.knowledge, dry_run=dry_run, gates=asked.ask)

    async def run(self) -> None:
        """Carry out and follow what is open, for ever. Storage that is away is waited for."""
        unknown = True
        with self._news.rollouts.subscribe(NOTICES, Overflow.DROP) as heard:
            while True:
                try:
                    if unknown:
                        found = await self._optimizations.select(Selection(statuses=OPEN))
                        self._open |= {each.id for each in found}
                        unknown = False
                    await self.settle()
                    with trio.move_on_after(TICK_S):
                        await self._notice(await heard.receive())
                except StorageUnavailable as error:
                    log.warning("deployments wait for storage", error=str(error))
                    await trio.sleep(RETRY_S)
                except trio.EndOfChannel:  # the process stops: nothing is told any more
                    await trio.sleep_forever()

    async def _notice(self, notice: Notify) -> None:
        """A completed deployment whose rollout somebody takes back is taken back with it."""
        if notice.transition.event != "rolled_back":
            return
        for found in await self._optimizations.select(Selection(statuses=frozenset({"completed"}))):
            deployment = found.deployment
            if deployment and any(step.rollout_id == notice.rollout_id for step in deployment.steps):
                told = notice.transition
                await self._wish(found.id, Wish(action="rollback", by=told.actor or "system", reason=told.reason))

    async def settle(self) -> None:
        """Bring every open deployment to where its rollouts stand."""
        for optimization_id in sorted(self._open):
            async with self._lock:
                await self._carry_out(optimization_id)

    async def _wish(self, optimization_id: str, wish: Wish) -> Optimization:
        async with self._lock:

            def plan(now: Optimization) -> Optimization:
                return decide_wish(now, wish)

            why = f": {wish.reason}" if wish.reason else ""
            await self._optimizations.change(optimization_id, plan, f"{wish.action} asked for by {wish.by}{why}")
            self._open.add(optimization_id)
            return await self._carry_out(optimization_id)

    async def _carry_out(self, optimization_id: str) -> Optimization:
        """Begin what has not begun, do what is wished, and keep where it stands. Doing it again changes nothing."""
        found = await self._optimizations.get(optimization_id)
        deployment = found.deployment
        if deployment is None or found.status not in OPEN:
            self._open.discard(optimization_id)
            return found
        rollouts: dict[str, Rollout] = {}
        try:
            for step in deployment.steps:
                rollout = await self._find(step.rollout_id)
                if rollout is None and deployment.wish is None:
                    rollout = await self._begin(found, deployment, step)
                if rollout is not None:
                    rollouts[step.service] = rollout
        except StorageUnavailable:
            raise
        except OptimizerError as error:
            wish = Wish(action="cancel", by="system", reason=f"a rollout could not begin: {error}")
            found = await self._optimizations.change(
                optimization_id, lambda now: decide_wish(now, wish), f"deployment failed: {error}"
            )
            return await self._carry_out(optimization_id)
        steered = [await self._steer(rollout, conclusion(found, rollouts)) for rollout in rollouts.values()]
        rollouts = {rollout.spec.service: rollout for rollout in steered}
        after = conclude(found, rollouts, self._now())
        if after.status not in OPEN:
            if after.status != "completed":
                await self._withdraw_added(deployment)
            self._open.discard(optimization_id)
        if after == found:
            return found
        message = "" if after.deployment is None else after.deployment.progress
        return await self._optimizations.change(
            optimization_id, lambda now: conclude(now, rollouts, self._now()), message
        )

    async def _find(self, rollout_id: str) -> Rollout | None:
        try:
            return await self._desk.get(rollout_id)
        except NotFound:
            return None

    async def _begin(self, found: Optimization, deployment: Deployment, step: Step) -> Rollout:
        if self._desk.baseline(step.service) != step.baseline:
            raise FailedPrecondition(f"{step.service!r} has another baseline than when it was asked for")
        spec = plan_rollout(step, deployment.stages, found.constraints, self._terms)
        added = None if step.config is None else Variant(name=step.candidate, config=step.config)
        return await self._desk.begin(spec, deployment.by, rollout_id=step.rollout_id, added=added)

    async def _steer(self, rollout: Rollout, wish: Wish | None) -> Rollout:
        """The rollout after what is wished of it. One that is over is left alone, unless it has to be taken back."""
        if wish is None or rollout.status not in ("running", "paused", "promoted"):
            return rollout
        action = "rollback" if rollout.status == "promoted" else wish.action
        with suppress(FailedPrecondition):  # it ended by itself in between
            return await self._desk.command(rollout.id, action, wish.by, wish.reason)
        return await self._desk.get(rollout.id)

    async def _withdraw_added(self, deployment: Deployment) -> None:
        """The variants that the deployment brought serve nobody any more: the declarations are as before."""
        for step in deployment.steps:
            with suppress(NotFound):
                service = self._registry.get(step.service)
                if step.config is None or service.baseline == step.candidate:
                    continue
                kept = tuple(v for v in service.variants if v.name != step.candidate)
                await self._registry.declare(replace(service, variants=kept))


def _demand_undeployed(found: Optimization) -> None:
    if found.status not in CANCELLABLE:
        raise FailedPrecondition(f"optimization {found.id} is {found.status}; only before deployment it is deployed")
