"""Deployments: an optimization becomes a rollout, its status follows, and its impact is measured."""

from decimal import Decimal

import msgspec
import pytest
import trio
import trio.testing

from optimizer.model import (
    Bound,
    Conflict,
    FailedPrecondition,
    FeedbackEvent,
    NotFound,
    Optimization,
    OptimizationChange,
    ParameterChange,
)
from optimizer.processor.optimizations import Proposal, Terms
from optimizer.processor.optimizations.optimizations import PREFIX
from optimizer.storage import Put
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, Running, running
from tests.processor.rooms import drain, following

FIXED = msgspec.structs.replace(SERVICE, mode="fixed", segment_by=())
TERMS = Terms(stage_min_s=0.0, stage_min_events=20, timeout_s=1e6)
STAGES = (50.0, 100.0)
TO_B = Proposal(
    strategy="cost_performance_scoring",
    target_services=("chat",),
    changes=(ParameterChange(parameter="model", old_value="m1", new_value="m2"),),
)
NEW = msgspec.structs.replace(
    TO_B, changes=(ParameterChange(parameter="temperature", new_value="0.3", change_type="add"),)
)
GOOD = {"a": 0.5, "b": 0.9}
BAD = {"a": 0.9, "b": 0.2}
COST = {"a": "0.02", "b": "0.01"}


async def call(r: Running, i: int, quality: dict[str, float], other: float = 0.9) -> str:
    """One user's call: decided, made, reported; the variant that served it."""
    chosen = r.processor.decider.decide("chat", {}, sticky=f"user-{i}").assignment
    event = FeedbackEvent(
        event_id=f"e{i}",
        service="chat",
        occurred_at=chosen.decided_at,
        received_at=chosen.decided_at,
        assignment_id=chosen.assignment_id,
        quality=quality.get(chosen.variant, other),
        cost_usd=Decimal(COST.get(chosen.variant, "0.01")),
        latency_ms=100.0 if chosen.variant == "a" else 80.0,
    )
    await r.feed([event])
    return chosen.variant


async def until_over(r: Running, found: Optimization, quality: dict[str, float], most: int = 3000) -> Optimization:
    for i in range(most):
        await call(r, i, quality)
        if i % 10 == 0:
            found = await r.processor.optimizations.get(found.id)
            if found.status not in ("deploying", "monitoring"):
                return found
            await trio.sleep(0.1)
    raise AssertionError(f"still {found.status}")


async def test_a_better_candidate_is_completed_with_its_measured_impact(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(TO_B, by="ann")
        with following(r.news.optimizations) as heard:
            deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
            assert deployed.status == "monitoring"
            assert deployed.deployed_at is not None
            over = await until_over(r, deployed, GOOD)
            told: list[OptimizationChange] = drain(heard)
        assert over.status == "completed"
        assert r.processor.registry.get("chat").baseline == "b"
        impact = over.actual_impact
        assert impact is not None
        assert impact.cost_reduction_pct == pytest.approx(50)
        assert impact.quality_delta_pct == pytest.approx(80)
        assert impact.latency_delta_pct == pytest.approx(-20)
        assert impact.requests_affected > 20
        assert impact.measured_from < impact.measured_until
        statuses = [change.optimization.status for change in told]
        assert (statuses[0], statuses[1], statuses[-1]) == ("deploying", "monitoring", "completed")
        assert any("100%" in change.message for change in told)


async def test_a_worse_candidate_is_rolled_back_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(TO_B, by="ann")
        deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        over = await until_over(r, deployed, BAD)
        assert over.status == "rolled_back"
        assert over.rolled_back_at is not None
        assert over.actual_impact is not None
        assert over.actual_impact.quality_delta_pct is not None
        assert over.actual_impact.quality_delta_pct < -50
        await trio.sleep(1)
        assert {await call(r, 5000 + i, BAD) for i in range(30)} == {"a"}


async def test_a_configuration_that_is_new_is_added_and_taken_away_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(msgspec.structs.replace(FIXED, mode="learn"))
        made = await r.processor.optimizations.create(NEW, by="ann")
        deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        assert deployed.deployment is not None
        (step,) = deployed.deployment.steps
        added = next(v for v in r.processor.registry.get("chat").variants if v.name == step.candidate)
        assert added.config == {"model": "m1", "temperature": 0.3}
        back = await r.processor.deployments.rollback(made.id, by="ann", reason="no")
        assert back.status == "rolled_back"
        assert [v.name for v in r.processor.registry.get("chat").variants] == ["a", "b"]
        assert (await r.processor.rollouts.get(step.rollout_id)).history[-1].reason == "no"


async def test_a_variant_can_be_named(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        named = msgspec.structs.replace(TO_B, changes=(ParameterChange(parameter="variant", new_value="b"),))
        made = await r.processor.optimizations.create(named, by="ann")
        deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        assert deployed.deployment is not None
        assert deployed.deployment.steps[0].candidate == "b"
        nobody = msgspec.structs.replace(TO_B, changes=(ParameterChange(parameter="variant", new_value="z"),))
        made = await r.processor.optimizations.create(nobody, by="ann")
        with pytest.raises(FailedPrecondition, match="no variant 'z'"):
            await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)


async def test_a_completed_one_can_be_taken_back_from_either_side(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(TO_B, by="ann")
        deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        over = await until_over(r, deployed, GOOD)
        with pytest.raises(FailedPrecondition, match="roll it back"):
            await r.processor.deployments.cancel(made.id, by="ann", reason="")
        assert over.deployment is not None
        await r.processor.rollouts.command(over.deployment.steps[0].rollout_id, "rollback", "eve", "second thoughts")
        await trio.sleep(10)
        assert (await r.processor.optimizations.get(made.id)).status == "rolled_back"
        assert r.processor.registry.get("chat").baseline == "a"
        again = await r.processor.optimizations.create(TO_B, by="ann")
        deployed = await r.processor.deployments.deploy(again.id, by="ben", stages=STAGES)
        for i in range(10_000, 13_000):
            await call(r, i, GOOD)
            if (await r.processor.optimizations.get(again.id)).status == "completed":
                break
        assert (await r.processor.deployments.rollback(again.id, by="ann", reason="no")).status == "rolled_back"
        assert r.processor.registry.get("chat").baseline == "a"


async def test_cancelling_before_during_and_after(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(TO_B, by="ann")
        assert (await r.processor.deployments.cancel(made.id, by="ann", reason="")).status == "cancelled"
        with pytest.raises(FailedPrecondition):
            await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        with pytest.raises(FailedPrecondition, match="never deployed"):
            await r.processor.deployments.rollback(made.id, by="ben", reason="x")
        made = await r.processor.optimizations.create(TO_B, by="ann")
        await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        other = await r.processor.optimizations.create(NEW, by="ann")
        with pytest.raises(Conflict, match="under way"):
            await r.processor.deployments.deploy(other.id, by="ben", stages=STAGES, force=True)
        assert (await r.processor.optimizations.get(other.id)).status == "pending"
        with pytest.raises(FailedPrecondition):
            await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        assert (await r.processor.deployments.cancel(made.id, by="ann", reason="late")).status == "cancelled"
        with pytest.raises(FailedPrecondition):
            await r.processor.deployments.cancel(made.id, by="ann", reason="late")
        with pytest.raises(NotFound):
            await r.processor.deployments.deploy("nobody", by="ann", stages=STAGES)


async def test_of_two_at_once_one_is_deployed(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = [await r.processor.optimizations.create(TO_B, by="ann") for _ in range(2)]
        outcomes: list[str] = []

        async def deploy(found: Optimization) -> None:
            try:
                outcomes.append((await r.processor.deployments.deploy(found.id, by="b", stages=STAGES)).status)
            except (Conflict, FailedPrecondition):
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            for each in made:
                nursery.start_soon(deploy, each)
        assert sorted(outcomes) == ["monitoring", "refused"]


async def test_several_services_are_deployed_all_or_none(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        for name in ("chat", "mail"):
            await r.processor.registry.declare(msgspec.structs.replace(FIXED, name=name))
        both = msgspec.structs.replace(TO_B, target_services=("chat", "mail"))
        made = await r.processor.optimizations.create(both, by="ann")
        deployed = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        over = await until_over(r, deployed, BAD)
        assert over.status == "rolled_back"
        assert {rollout.status for rollout in r.processor.rollouts.list()} == {"rolled_back"}


async def test_what_was_logged_blocks_and_force_overrules(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(msgspec.structs.replace(FIXED, mode="learn"))
        for i in range(600):
            await call(r, i, {"a": 0.9, "b": 0.3})
        made = await r.processor.optimizations.create(TO_B, by="ann")
        outcome = await r.processor.deployments.validate(made.id, dry_run=True)
        assert [finding.code for finding in outcome.errors] == ["GATE"]
        assert (await r.processor.optimizations.get(made.id)).status == "pending"
        with pytest.raises(FailedPrecondition, match="off-policy"):
            await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        forced = await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES, force=True)
        assert forced.deployment is not None
        assert (forced.status, forced.deployment.forced) == ("monitoring", True)


async def test_a_candidate_that_the_log_does_not_know_is_a_warning(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        for i in range(60):
            await call(r, i, GOOD)
        made = await r.processor.optimizations.create(TO_B, by="ann")
        outcome = await r.processor.deployments.validate(made.id, dry_run=False)
        assert outcome.valid
        assert any("never made in the log" in warning for warning in outcome.warnings)


async def test_hard_limits_become_guardrails(autojump_clock: trio.testing.MockClock) -> None:
    bounds = (
        Bound(constraint_type="max_cost_increase_pct", value="10", hard=True),
        Bound(constraint_type="max_latency_increase_pct", value="20"),
    )
    async with running(MemoryState(), terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(msgspec.structs.replace(TO_B, constraints=bounds), by="ann")
        await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        (rollout,) = r.processor.rollouts.list()
        rails = {(rail.metric, *rail.bound) for rail in rollout.spec.guardrails}
        assert ("cost_usd", "max_increase_ratio", 1.1) in rails
        assert {metric for metric, *_ in rails} == {"cost_usd", "quality", "error_rate"}


async def test_a_restart_finds_what_was_decided_and_carries_it_out(autojump_clock: trio.testing.MockClock) -> None:
    """A crash after the decision is kept and before its rollout began, and one in the middle of the rollout."""
    state = MemoryState()
    async with running(state, terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        made = await r.processor.optimizations.create(NEW, by="ann")
        await r.processor.deployments.deploy(made.id, by="ben", stages=STAGES)
        kept = await r.processor.optimizations.get(made.id)
    before = MemoryState()
    async with running(before, terms=TERMS) as r:
        await r.processor.registry.declare(FIXED)
        await r.processor.optimizations.create(NEW, by="ann")
        waiting = msgspec.structs.replace(kept, status="deploying", deployed_at=None, actual_impact=None)
        await r.store.commit([Put(key=PREFIX + kept.id, body=msgspec.json.encode(waiting))])
    for each, rollouts in ((before, 0), (state, 1)):
        assert len([e for e in each.entries if e.kind == "r"]) == rollouts
        async with running(each, terms=TERMS) as r:
            await trio.sleep(20)
            found = await r.processor.optimizations.get(made.id)
            assert found.status == "monitoring"
            assert len(r.processor.rollouts.list()) == 1
            assert len([e for e in each.entries if e.kind == "r"]) == 1
            await r.processor.deployments.cancel(made.id, by="ann", reason="")
            assert len(r.processor.registry.get("chat").variants) == 2
