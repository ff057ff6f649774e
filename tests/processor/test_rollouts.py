"""Rollouts in the processor: every step follows from the log, survives a restart, and `decide` follows it."""

import msgspec
import pytest
import trio
import trio.testing

from optimizer.core import records
from optimizer.core.judge import Guardrail
from optimizer.core.rollout import RolloutSpec
from optimizer.model import Conflict, FailedPrecondition, FeedbackEvent, InvalidArgument, NotFound
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, Running, running

FIXED = msgspec.structs.replace(SERVICE, mode="fixed", segment_by=())
SPEC = RolloutSpec(
    service="chat",
    baseline="a",
    candidate="b",
    stages=(50.0, 100.0),
    stage_min_s=0.0,
    stage_min_events=20,
    guardrails=(Guardrail(metric="quality", max_drop=0.1),),
    max_events=2000,
)


async def call(r: Running, i: int, quality: dict[str, float]) -> str:
    """One user's call: decided, made, reported; the variant that served it."""
    chosen = r.processor.decider.decide("chat", {}, sticky=f"user-{i}").assignment
    event = FeedbackEvent(
        event_id=f"e{i}",
        service="chat",
        occurred_at=i,
        received_at=chosen.decided_at,
        assignment_id=chosen.assignment_id,
        quality=quality[chosen.variant],
    )
    await r.feed([event])
    return chosen.variant


async def test_a_worse_candidate_is_taken_back_and_no_longer_served(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        served = {await call(r, i, {"a": 0.9, "b": 0.2}) for i in range(40)}
        assert served == {"a", "b"}
        i = 40
        while (await r.processor.rollouts.get(rollout.id)).status == "running":
            await call(r, i, {"a": 0.9, "b": 0.2})
            i += 1
            assert i < 400
        found = await r.processor.rollouts.get(rollout.id)
        assert found.status == "rolled_back"
        await trio.sleep(1)
        assert {await call(r, 1000 + k, {"a": 0.9, "b": 0.2}) for k in range(50)} == {"a"}


async def test_a_better_candidate_becomes_the_baseline(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        i = 0
        while (await r.processor.rollouts.get(rollout.id)).status == "running":
            await call(r, i, {"a": 0.5, "b": 0.9})
            i += 1
            assert i < 2000
        assert (await r.processor.rollouts.get(rollout.id)).status == "promoted"
        await trio.sleep(1)
        assert r.processor.registry.get("chat").baseline == "b"
        assert r.processor.decider.decide("chat", {}).assignment.variant == "b"
        await r.processor.rollouts.command(rollout.id, "rollback", "ann", "second thoughts")
        assert r.processor.registry.get("chat").baseline == "a"
        assert r.processor.decider.decide("chat", {}).assignment.variant == "a"


async def test_a_user_who_is_in_stays_in_as_the_share_grows(autojump_clock: trio.testing.MockClock) -> None:
    spec = msgspec.structs.replace(SPEC, stages=(10.0, 60.0, 100.0), stage_min_s=100.0, stage_min_events=1)
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        await r.processor.rollouts.begin(spec, "ann")

        def inside() -> set[int]:
            return {
                i
                for i in range(500)
                if r.processor.decider.decide("chat", {}, sticky=f"user-{i}").assignment.variant == "b"
            }

        first = inside()
        assert 25 < len(first) < 80
        probability = r.processor.decider.decide("chat", {}, sticky=f"user-{min(first)}").assignment.probability
        assert probability == pytest.approx(0.1)
        for user in sorted(first)[:5]:
            await call(r, user, {"a": 1.0, "b": 1.0})
        policy = r.processor.decider.policy("chat")
        assert policy is not None
        assert policy.split is not None
        assert policy.split.share == 0.1


async def test_time_alone_ends_a_rollout_that_nobody_uses(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(FIXED)
        spec = msgspec.structs.replace(SPEC, timeout_s=0.0005)  # the tests' clock advances a microsecond at each look
        rollout = await r.processor.rollouts.begin(spec, "ann")
        await trio.sleep(600)
        assert (await r.processor.rollouts.get(rollout.id)).status == "inconclusive"
        ticks = [e for e in state.entries if e.kind == records.ROLLOUT]
        assert len(ticks) == 2  # its beginning, and the one tick that ended it


async def test_what_cannot_be_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        with pytest.raises(NotFound):
            await r.processor.rollouts.begin(SPEC, "ann")
        await r.processor.registry.declare(FIXED)
        with pytest.raises(InvalidArgument):
            await r.processor.rollouts.begin(msgspec.structs.replace(SPEC, candidate="z"), "ann")
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        with pytest.raises(Conflict):
            await r.processor.rollouts.begin(SPEC, "ben")
        with pytest.raises(FailedPrecondition):
            await r.processor.rollouts.command(rollout.id, "resume", "ann")
        with pytest.raises(NotFound):
            await r.processor.rollouts.get("no-such-rollout")


async def test_two_begun_at_once_give_one_rollout_and_one_conflict(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        outcomes: list[str] = []

        async def begin() -> None:
            try:
                outcomes.append((await r.processor.rollouts.begin(SPEC, "ann")).status)
            except Conflict:
                outcomes.append("conflict")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
            nursery.start_soon(begin)
        assert sorted(outcomes) == ["conflict", "running"]


async def test_commands_move_it_and_are_in_its_history(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        for action, status in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]:
            moved = await r.processor.rollouts.command(rollout.id, action, "ben", "because")  # type: ignore[arg-type]
            assert moved.status == status
        described = r.processor.rollouts.describe(moved)
        history = described["history"]
        assert isinstance(history, list)
        assert [h["event"] for h in history] == ["started", "paused", "resumed", "cancelled"]
        assert history[1]["actor"] == "ben"
        assert (await r.processor.rollouts.explain(rollout.id))["sentences"]
        assert {r.processor.decider.decide("chat", {}).assignment.variant for _ in range(30)} == {"a"}


async def test_declaring_the_service_without_the_candidate_cancels_it(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(FIXED)
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        await r.processor.registry.declare(msgspec.structs.replace(FIXED, variants=FIXED.variants[:1]))
        assert (await r.processor.rollouts.get(rollout.id)).status == "cancelled"


@pytest.mark.parametrize("snapshots", [True, False])
async def test_a_restart_resumes_where_it_stood(autojump_clock: trio.testing.MockClock, snapshots: bool) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(FIXED)
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        for i in range(30):
            await call(r, i, {"a": 0.5, "b": 0.6})
        await trio.sleep(10)
        before = msgspec.msgpack.encode(await r.processor.rollouts.get(rollout.id))
        split = r.processor.decider.policy("chat")
    again = state if snapshots else MemoryState(entries=list(state.entries), dedup=set(state.dedup))
    async with running(again) as r:
        assert msgspec.msgpack.encode(await r.processor.rollouts.get(rollout.id)) == before
        assert r.processor.decider.policy("chat") == split


async def test_the_holdout_and_a_changed_variant_belong_to_no_arm(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(msgspec.structs.replace(FIXED, holdout=0.5))
        rollout = await r.processor.rollouts.begin(SPEC, "ann")
        reasons: dict[str, int] = {}
        for i in range(60):
            chosen = r.processor.decider.decide("chat", {}, sticky=f"user-{i}").assignment
            reasons[chosen.reason] = reasons.get(chosen.reason, 0) + 1
            other = "b" if chosen.variant == "a" else "a"
            for k, variant in enumerate((None, other)):
                event = FeedbackEvent(
                    event_id=f"e{i}-{k}",
                    service="chat",
                    occurred_at=i,
                    received_at=i,
                    assignment_id=chosen.assignment_id,
                    variant=variant,
                )
                await r.feed([event])
        found = await r.processor.rollouts.get(rollout.id)
        assert found.calls == [reasons["fixed"], reasons["rollout"]]
        assert reasons["holdout"] > 10
