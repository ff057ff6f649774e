"""A log replays to the same bytes, and tells what another policy would have earned on its traffic."""

import random
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from optimizer.cli.replay import read_proposal
from optimizer.core import records
from optimizer.core.replay import Line, recorded_policies, replay
from optimizer.core.rollout import RolloutSpec
from optimizer.core.whatif import Proposal, WhatIf
from optimizer.model import FeedbackEvent, InvalidArgument
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, Running, running

COST = {"a": Decimal("0.010"), "b": Decimal("0.002")}
RIGHT = {"a": 0.9, "b": 0.7}


async def live(r: Running, calls: int, rng: random.Random) -> None:
    """Some users' calls, reported one by one."""
    for i in range(calls):
        task = rng.choice(["sum", "chat"])
        chosen = r.processor.decider.decide("chat", {"task": task}, sticky=f"user-{i}").assignment
        event = FeedbackEvent(
            event_id=f"e{rng.random()}",
            service="chat",
            occurred_at=i,
            received_at=chosen.decided_at,
            assignment_id=chosen.assignment_id,
            cost_usd=COST[chosen.variant],
            quality=float(rng.random() < RIGHT[chosen.variant]),
        )
        await r.feed([event])
        if i % 30 == 0:
            await trio.sleep(1)


async def make_log(calls: int) -> list[Line]:
    """The log of a service that learns, with a holdout and a rollout in the middle."""
    state, rng = MemoryState(), random.Random(3)
    async with running(state) as r:
        await r.processor.registry.declare(msgspec.structs.replace(SERVICE, holdout=0.1))
        await live(r, calls // 2, rng)
        spec = RolloutSpec(service="chat", baseline="a", candidate="b", stage_min_s=0.0, stage_min_events=10)
        rollout = await r.processor.rollouts.begin(spec, "ann")
        await live(r, calls // 2, rng)
        if (await r.processor.rollouts.get(rollout.id)).status == "running":
            await r.processor.rollouts.command(rollout.id, "cancel", "ann")
        await trio.sleep(5)
    return [Line(e.offset, e.kind, e.payload) for e in state.entries]


async def test_every_policy_comes_out_byte_for_byte(autojump_clock: trio.testing.MockClock) -> None:
    log = await make_log(400)
    result = replay(log, recorded_policies(log))
    assert result.policies > 15
    assert result.different == []
    assert result.records == len(log)
    assert len(result.state.rollouts.known) == 1


async def test_a_log_that_was_tampered_with_shows(autojump_clock: trio.testing.MockClock) -> None:
    log = await make_log(200)
    recorded = recorded_policies(log)
    first = next(i for i, line in enumerate(log) if line.kind == records.FEEDBACK)
    event = msgspec.structs.replace(records.decode_feedback(log[first].payload), quality=0.0, cost_usd=Decimal(1))
    log[first] = log[first]._replace(payload=records.encode(event))
    assert replay(log, recorded).different


async def test_another_policy_is_evaluated_on_the_same_traffic(autojump_clock: trio.testing.MockClock) -> None:
    log = await make_log(1200)
    asked = WhatIf(Proposal("chat", {"a": 0.0, "b": 1.0}))
    replay(log, {}, each=asked.see)
    found = asked.evaluate()
    cost, quality = found["cost_usd"].dr, found["quality"].dr
    assert cost.low <= -0.002 <= cost.high
    assert quality.low <= RIGHT["b"] <= quality.high
    assert found["cost_usd"].gain.value > 0


def test_a_proposal_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('service = "chat"\n[default]\na = 0.5\nb = 0.5\n[segments."task=x"]\na = 1.0\n')
    assert read_proposal(path) == Proposal("chat", {"a": 0.5, "b": 0.5}, {"task=x": {"a": 1.0}})
    for bad in ("", "service = 3", 'service = "chat"\n[default]\na = "x"', "not toml"):
        path.write_text(bad)
        with pytest.raises(InvalidArgument):
            read_proposal(path)
    with pytest.raises(InvalidArgument, match="sum to 1"):
        WhatIf(Proposal("chat", {"a": 0.7}))
