"""The processor on a memory store: declare, decide, learn, explain, restart."""

from decimal import Decimal

import msgspec
import pytest
import trio
import trio.testing

from optimizer.core import records
from optimizer.core.assignment import parse
from optimizer.model import FeedbackEvent, NotFound, Objective, Service
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, running


def event(i: int, variant: str, cost: str) -> FeedbackEvent:
    return FeedbackEvent(
        event_id=f"e{i}",
        service="chat",
        occurred_at=i,
        received_at=i,
        variant=variant,
        context={"task": "sum"},
        quality=1.0,
        cost_usd=Decimal(cost),
    )


async def test_a_declared_service_decides_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        decision = r.processor.decider.decide("chat", {"task": "sum"})
        assert decision.assignment.variant in ("a", "b")
        assert decision.config == {"model": "m1" if decision.assignment.variant == "a" else "m2"}
        assert 0 < decision.assignment.probability <= 1
        assert decision.assignment.expires_at - decision.assignment.decided_at == 300_000_000
        assert r.listings.get()["chat"].variants == {"a", "b"}


async def test_an_unknown_service_is_not_found(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        with pytest.raises(NotFound):
            r.processor.decider.decide("nobody", {})
        with pytest.raises(NotFound):
            r.processor.registry.report("nobody")


async def test_the_same_key_gets_the_same_variant(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        chosen = {
            key: {r.processor.decider.decide("chat", {}, sticky=key).assignment.variant for _ in range(5)}
            for key in map(str, range(50))
        }
        assert all(len(variants) == 1 for variants in chosen.values())
        assert {v for variants in chosen.values() for v in variants} == {"a", "b"}


async def test_the_policy_learns_the_cheaper_variant(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        for start in range(0, 600, 20):
            pairs = (("a", "0.010"), ("b", "0.001"))
            await r.feed([event(start + i, *pairs[i % 2]) for i in range(20)])
        await trio.sleep(2)
        policy = r.processor.decider.policy("chat")
        assert policy is not None
        assert policy.version > 10
        report = r.processor.registry.report("chat")
        segments = report["segments"]
        assert isinstance(segments, dict)
        assert segments["task=sum"]["probabilities"]["b"] > 0.9


async def test_a_fixed_service_serves_its_baseline(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        fixed = msgspec.structs.replace(SERVICE, mode="fixed")
        await r.processor.registry.declare(fixed)
        assignment = r.processor.decider.decide("chat", {}).assignment
        assert (assignment.variant, assignment.probability, assignment.reason) == ("a", 1.0, "fixed")
        await r.feed([event(i, "b", "0.001") for i in range(100)])
        await trio.sleep(5)
        policy = r.processor.decider.policy("chat")
        assert policy is not None
        assert policy.version == 1


async def test_a_new_declaration_is_followed_when_declare_returns(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        await r.processor.registry.declare(msgspec.structs.replace(SERVICE, mode="fixed", baseline="b"))
        assert r.processor.decider.decide("chat", {}).assignment.variant == "b"
        await r.processor.registry.withdraw("chat")
        with pytest.raises(NotFound):
            r.processor.decider.decide("chat", {})
        assert r.listings.get() == {}


async def test_declaring_the_same_again_writes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        end = await r.store.end()
        await r.processor.registry.declare(SERVICE)
        assert await r.store.end() == end


async def test_exposures_are_logged_behind_the_answers(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(SERVICE)
        made = [r.processor.decider.decide("chat", {}, request_id=f"r{i}").assignment for i in range(700)]
        await trio.sleep(1)
        logged = [
            x for e in state.entries if e.kind == records.EXPOSURES for x in records.decode_exposures(e.payload).items
        ]
        assert [x.assignment_id for x in logged] == [a.assignment_id for a in made]
        assert logged[3].request_id == "r3"
        assigned = r.processor.registry.report("chat")["assigned"]
        assert isinstance(assigned, dict)
        assert sum(assigned.values()) == 700


async def test_the_last_exposures_are_logged_at_the_stop(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(SERVICE)
        made = r.processor.decider.decide("chat", {}).assignment
    logged = [
        x for e in state.entries if e.kind == records.EXPOSURES for x in records.decode_exposures(e.payload).items
    ]
    assert [x.assignment_id for x in logged] == [made.assignment_id]


async def test_explain_tells_what_was_known_under_an_old_policy(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(SERVICE)
        old = r.processor.decider.decide("chat", {"task": "sum"}).assignment
        await r.feed([event(i, "ab"[i % 2], "0.01") for i in range(200)])
        await trio.sleep(2)
        policy = r.processor.decider.policy("chat")
        assert policy is not None
        assert policy.version > old.policy_version
        told = await r.processor.registry.explain("chat", old.assignment_id)
        assert told["policy_version"] == old.policy_version
        assert (told["variant"], told["probability"], told["reason"]) == (old.variant, old.probability, old.reason)
        candidates = told["candidates"]
        assert isinstance(candidates, list)
        assert sum(c["probability"] for c in candidates) == pytest.approx(1)
        with pytest.raises(NotFound):
            await r.processor.registry.explain("other", old.assignment_id)


async def test_a_restart_continues_exactly(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(SERVICE)
        await r.feed([event(i, "ab"[i % 2], f"0.00{i % 9}") for i in range(500)])
        await trio.sleep(10)
        before, policy = r.processor.registry.report("chat"), r.processor.decider.policy("chat")
    async with running(state) as r:
        assert r.processor.registry.report("chat") == before
        assert r.processor.decider.policy("chat") == policy


async def test_without_any_snapshot_the_log_alone_gives_the_same(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(SERVICE)
        await r.feed([event(i, "ab"[i % 2], f"0.00{i % 9}") for i in range(300)])
        await trio.sleep(10)
        before = r.processor.registry.report("chat")
    async with running(MemoryState(entries=list(state.entries), dedup=set(state.dedup))) as r:
        assert r.processor.registry.report("chat") == before


async def test_every_assignment_says_what_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        spec = Service(
            name="s", objective=Objective(goal="maximize_quality"), variants=SERVICE.variants, baseline="b", holdout=0.5
        )
        await r.processor.registry.declare(spec)
        seen = set()
        for _ in range(200):
            assignment = r.processor.decider.decide("s", {}).assignment
            ref = parse(assignment.assignment_id)
            assert spec.variants[ref.variant].name == assignment.variant
            assert (ref.reason, ref.policy_version) == (assignment.reason, assignment.policy_version)
            seen.add(assignment.reason)
        assert "holdout" in seen
