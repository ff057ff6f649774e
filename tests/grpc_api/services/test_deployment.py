"""Deploying an optimization is a rollout, and its outcome becomes the optimization's status."""

from typing import Any

import grpc
import trio

from tests.grpc_api.services.conftest import Stack
from tests.grpc_api.services.declared import compare, declare, event, folded

CHANGE = {"parameter": "model", "old_value": "large", "new_value": "small", "change_type": 1}


async def create(stack: Stack, **fields: Any) -> Any:
    wanted = {"strategy": 3, "target_services": ["chat"], "changes": [CHANGE], **fields}
    return (await stack.stub("optimization").call("CreateOptimization", **wanted)).decision


async def status_of(stack: Stack, optimization_id: str, wanted: int) -> Any:
    """The optimization once it has that status."""
    with trio.fail_after(10):
        found = await stack.stub("optimization").call("GetOptimization", decision_id=optimization_id)
        while found.decision.status != wanted:
            found = await stack.stub("optimization").call("GetOptimization", decision_id=optimization_id)
    return found.decision


async def test_a_deployment_is_a_rollout_and_can_be_taken_back(stack: Stack) -> None:
    await compare(stack)
    optimization, rollouts = stack.stub("optimization"), stack.stub("rollouts")
    made = await create(stack)
    answer = await optimization.call("DeployOptimization", decision_id=made.id, canary=True, canary_percentage=20.0)
    assert answer.decision.status == optimization.pb.DECISION_STATUS_MONITORING
    rollout = await rollouts.call("GetRollout", rollout_id=answer.deployment_id)
    assert (rollout.candidate, rollout.baseline, list(rollout.stages)) == ("b", "a", [20, 25, 50, 100])
    again = await optimization.fails("DeployOptimization", decision_id=made.id)
    assert again is grpc.StatusCode.FAILED_PRECONDITION
    back = await optimization.call("RollbackOptimization", decision_id=made.id, reason="no")
    assert (back.decision.status, back.decision.HasField("rolled_back_at")) == (8, True)
    assert (await rollouts.call("GetRollout", rollout_id=answer.deployment_id)).status == 3
    assert await optimization.fails("RollbackOptimization", decision_id=made.id) is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_new_configuration_becomes_a_variant(stack: Stack) -> None:
    await declare(stack)
    change = {"parameter": "temperature", "old_value": "0", "new_value": "0.5", "change_type": 1}
    made = await create(stack, changes=[change])
    await stack.stub("optimization").call("DeployOptimization", decision_id=made.id, canary=True)
    service = (await stack.stub("routing").call("GetService", service="chat")).service
    assert service.variants[2].config["temperature"] == 0.5
    assert service.variants[2].config["model"] == "large"


async def test_what_does_not_validate_is_not_deployed(stack: Stack) -> None:
    await declare(stack)
    optimization = stack.stub("optimization")
    wrong = await create(stack, changes=[CHANGE | {"old_value": "other"}])
    assert await optimization.fails("DeployOptimization", decision_id=wrong.id) is grpc.StatusCode.FAILED_PRECONDITION
    nowhere = await create(stack, target_services=["nobody"])
    assert await optimization.fails("DeployOptimization", decision_id=nowhere.id) is grpc.StatusCode.FAILED_PRECONDITION
    both = await create(stack, target_services=["chat", "code"])
    assert await optimization.fails("DeployOptimization", decision_id=both.id) is grpc.StatusCode.FAILED_PRECONDITION
    bad = {"decision_id": (await create(stack)).id, "canary": True, "canary_percentage": 200.0}
    assert await optimization.fails("DeployOptimization", **bad) is grpc.StatusCode.INVALID_ARGUMENT
    forced = await optimization.call("DeployOptimization", decision_id=wrong.id, force=True, canary=True)
    assert forced.decision.status == 7


async def test_a_service_with_a_rollout_under_way_takes_no_other(stack: Stack) -> None:
    await declare(stack)
    optimization = stack.stub("optimization")
    await stack.stub("rollouts").call("StartRollout", service="chat", candidate="b")
    made = await create(stack)
    assert await optimization.fails("DeployOptimization", decision_id=made.id) is grpc.StatusCode.ABORTED
    assert (await status_of(stack, made.id, 1)).status == 1, "nothing was begun: it may be deployed later"


async def test_a_rollout_that_ends_by_itself_gives_the_outcome_and_what_was_measured(stack: Stack) -> None:
    await declare(stack)
    optimization, routing = stack.stub("optimization"), stack.stub("routing")
    made = await create(stack)
    async with optimization.subscribed("SubscribeOptimizationEvents", decision_ids=[made.id]) as events:
        await optimization.call("DeployOptimization", decision_id=made.id, canary=True, canary_percentage=50.0)
        requests = [routing.pb.DecideRequest(service="chat")] * 600
        decisions = [reply.decision for reply in await routing.all("DecideStream", iter(requests))]
        feedback = [
            event(i, at_s=0.5, assignment_id=d.assignment_id, cost_usd=cost, quality=quality)
            for i, d in enumerate(decisions)
            for cost, quality in [("0.02", 0.95) if d.variant == "a" else ("0.01", 0.2)]
        ]
        await stack.stub("feedback").call("RecordFeedback", events=feedback)
        await folded(stack)
        found = await status_of(stack, made.id, 8)
        told = [await events.next() for _ in range(3)]
    assert [each.status for each in told] == [4, 7, 8]
    assert found.actual_impact.requests_affected > 5
    # Compared with what the learning policy serves otherwise, which explores the cheap variant a little.
    assert 40 < found.actual_impact.cost_reduction_pct < 50.001  # half, to the rounding of a float
    assert found.actual_impact.quality_delta_pct < -70
