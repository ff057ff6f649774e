"""RolloutService through an unmodified client."""

from typing import Any

import grpc
import pytest

from tests.grpc_api.services.conftest import Stack
from tests.grpc_api.services.declared import declare, event, folded


async def start(stack: Stack, **fields: Any) -> Any:
    await declare(stack)
    rollouts = stack.stub("rollouts")
    return await rollouts.call("StartRollout", service="chat", candidate="b", **fields)


async def test_a_rollout_is_begun_read_and_listed(stack: Stack) -> None:
    made = await start(stack, stages=[10, 100], guardrails=[{"metric": "quality", "max_drop": 0.05}], alpha=0.1)
    rollouts = stack.stub("rollouts", "readonly")
    assert (made.status, made.candidate, made.baseline, list(made.stages)) == (1, "b", "a", [10, 100])
    assert (made.guardrails[0].max_drop, made.guardrails[0].HasField("max_increase")) == (0.05, False)
    assert (made.share, made.alpha, made.auto, made.stage_min_events) == (0.1, 0.1, True, 100)
    assert made.history[0].actor == "admin-user"
    found = await rollouts.call("GetRollout", rollout_id=made.id)
    assert found.id == made.id
    assert "evidence" in found.waiting_for
    listed = await rollouts.call("ListRollouts", service="chat", status_filter=[1])
    assert [each.id for each in listed.rollouts] == [made.id]
    assert not (await rollouts.call("ListRollouts", status_filter=[2])).rollouts
    (verdict,) = (await rollouts.call("GetVerdicts", rollout_id=made.id)).verdicts
    assert (verdict.metric, verdict.verdict, verdict.HasField("effect")) == ("quality", 4, False)
    assert await rollouts.fails("GetRollout", rollout_id="x") is grpc.StatusCode.NOT_FOUND
    assert await rollouts.fails("ListRollouts", status_filter=[99]) is grpc.StatusCode.INVALID_ARGUMENT
    again = stack.stub("rollouts")
    assert await again.fails("StartRollout", service="chat", candidate="b") is grpc.StatusCode.ABORTED


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"service": "nobody", "candidate": "b"}, grpc.StatusCode.NOT_FOUND),
        ({"service": "chat", "candidate": "x"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"service": "chat", "candidate": "a"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"service": "chat", "candidate": "b", "stages": [50, 10]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"service": "chat", "candidate": "b", "alpha": 2.0}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            {"service": "chat", "candidate": "b", "guardrails": [{"metric": "quality"}]},
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_what_cannot_be_rolled_out(stack: Stack, wrong: dict[str, Any], code: grpc.StatusCode) -> None:
    await declare(stack)
    assert await stack.stub("rollouts").fails("StartRollout", **wrong) is code


async def test_a_rollout_is_steered_and_watched(stack: Stack) -> None:
    made = await start(stack, auto=False)
    rollouts = stack.stub("rollouts")
    async with rollouts.subscribed("WatchRollouts", services=["chat"]) as replies:
        assert (await replies.next()).rollout.id == made.id
        paused = await rollouts.call("PauseRollout", rollout_id=made.id, reason="holiday")
        assert (paused.status, paused.history[-1].reason) == (5, "holiday")
        assert (await replies.next()).rollout.status == 5
        assert (await rollouts.call("ResumeRollout", rollout_id=made.id)).status == 1
        wrong = await rollouts.fails("ResumeRollout", rollout_id=made.id)
        assert wrong is grpc.StatusCode.FAILED_PRECONDITION
        back = await rollouts.call("RollbackRollout", rollout_id=made.id, reason="no")
        assert (back.status, back.share) == (3, 0)
        assert back.HasField("ended_at")
    for method in ("PauseRollout", "CancelRollout", "ApproveRollout"):
        assert await rollouts.fails(method, rollout_id=made.id) is grpc.StatusCode.FAILED_PRECONDITION
        assert await rollouts.fails(method, rollout_id="x") is grpc.StatusCode.NOT_FOUND


async def test_a_bad_candidate_is_taken_back_by_itself(stack: Stack) -> None:
    made = await start(
        stack, stages=[50, 100], guardrails=[{"metric": "quality", "max_drop": 0.05}], stage_min_events=20
    )
    routing, feedback = stack.stub("routing"), stack.stub("feedback")
    requests = [routing.pb.DecideRequest(service="chat")] * 400
    decisions = [reply.decision for reply in await routing.all("DecideStream", iter(requests))]
    assert 100 < sum(decision.variant == "b" for decision in decisions) < 300
    events = [
        event(i, assignment_id=decision.assignment_id, quality=0.2 if decision.variant == "b" else 0.95)
        for i, decision in enumerate(decisions)
    ]
    await feedback.call("RecordFeedback", events=events)
    await folded(stack)
    found = await stack.stub("rollouts").call("GetRollout", rollout_id=made.id)
    assert found.status == 3
    worse = found.verdicts[0]
    assert (worse.verdict, worse.kept) == (2, False)
    assert worse.effect < -0.5
