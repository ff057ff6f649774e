"""The decision loop: a durable proposal for each trigger, once; deployed by a person or, when allowed, by itself."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest
import trio
import trio.testing

from optimizer.model import FeedbackEvent, Optimization
from optimizer.processor.administration import Flags
from optimizer.processor.decisions import EMERGENCY_STOP, LoopSettings
from optimizer.processor.optimizations import Selection, Terms
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, Running, running

TERMS = Terms(stage_min_s=0.0, stage_min_events=20, timeout_s=1e6)
LOOP = LoopSettings(strategies=("cost_performance_scoring",), min_gap_s=100.0, repeat_s=1_200.0)


async def compare(r: Running, name: str = "chat", calls: int = 2000) -> None:
    """b costs half of a at the same quality; the holdout keeps half of the calls on a."""
    await r.processor.registry.declare(msgspec.structs.replace(SERVICE, name=name, segment_by=(), holdout=0.5))
    dice, batch = random.Random(1), list[FeedbackEvent]()
    for i in range(calls):
        chosen = r.processor.decider.decide(name, {}).assignment
        batch.append(
            FeedbackEvent(
                event_id=f"{name}{i}",
                service=name,
                occurred_at=chosen.decided_at,
                received_at=chosen.decided_at,
                assignment_id=chosen.assignment_id,
                quality=float(dice.random() < 0.95),
                cost_usd=Decimal("0.02") if chosen.variant == "a" else Decimal("0.01"),
            )
        )
        if len(batch) == 100:
            await r.feed(batch)
            batch = []


async def proposed(r: Running) -> list[Optimization]:
    return await r.processor.optimizations.select(Selection())


@asynccontextmanager
async def deciding(loop: LoopSettings, state: MemoryState | None = None) -> AsyncIterator[Running]:
    async with running(state or MemoryState(), terms=TERMS, loop=loop) as r:
        yield r


async def test_one_proposal_waits_for_approval_and_is_never_made_twice(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with deciding(LOOP, state) as r:
        await compare(r)
        await trio.sleep(300)
        (made,) = await proposed(r)
        assert (made.status, made.strategy) == ("pending", "cost_performance_scoring")
        assert made.expected_impact is not None
        assert made.expected_impact.confidence is not None
        assert made.expected_impact.confidence >= 0.9
        assert made.expected_impact.cost_reduction_pct == pytest.approx(50, abs=10)
        assert r.processor.rollouts.list() == []
        await r.processor.deployments.cancel(made.id, by="ann", reason="no")
        await trio.sleep(300)
        assert len(await proposed(r)) == 1, "what was refused is not proposed again"
    async with deciding(LOOP, state) as r:
        await trio.sleep(300)
        assert len(await proposed(r)) == 1
        await trio.sleep(700)
        assert len(await proposed(r)) == 2, "after that time it may be asked again"


async def test_an_approved_one_is_deployed(autojump_clock: trio.testing.MockClock) -> None:
    async with deciding(LOOP) as r:
        await compare(r)
        await trio.sleep(120)
        (made,) = await proposed(r)
        deployed = await r.processor.deployments.deploy(made.id, by="ann", stages=(50.0, 100.0))
        assert deployed.status == "monitoring"
        assert deployed.deployment is not None
        assert deployed.deployment.steps[0].candidate == "b"


async def test_by_itself_only_when_allowed_and_at_most_so_many(autojump_clock: trio.testing.MockClock) -> None:
    loop = LoopSettings(
        strategies=("cost_performance_scoring",), auto_execute=True, profile="aggressive", max_concurrent=1
    )
    async with deciding(loop) as r:
        await compare(r, "chat")
        await compare(r, "mail")
        await trio.sleep(300)
        found = await proposed(r)
        assert [each.status for each in found] == ["monitoring"]
        assert len(r.processor.rollouts.list()) == 1


async def test_a_restart_goes_on_with_what_was_decided(autojump_clock: trio.testing.MockClock) -> None:
    """The decision was kept and the process ended before it was deployed."""
    state = MemoryState()
    async with deciding(LOOP, state) as r:
        await compare(r)
        await trio.sleep(120)
        (made,) = await proposed(r)
    auto = LoopSettings(strategies=LOOP.strategies, auto_execute=True, profile="aggressive")
    async with deciding(auto, state) as r:
        await trio.sleep(120)
        (found,) = await proposed(r)
        assert (found.id, found.status) == (made.id, "monitoring")


async def test_the_emergency_stop_stops_it(autojump_clock: trio.testing.MockClock) -> None:
    async with deciding(LOOP) as r:
        flags = Flags(r.store, r.news.system, lambda: 1)
        await flags.set(EMERGENCY_STOP, True, by="ann")
        await compare(r)
        await trio.sleep(300)
        assert await proposed(r) == []
        await flags.set(EMERGENCY_STOP, False, by="ann")
        await trio.sleep(120)
        assert len(await proposed(r)) == 1
