"""OptimizationService through an unmodified client: all four kinds of call."""

import queue
from typing import Any

import grpc
import pytest

from tests.grpc_api.services.conftest import Stack
from tests.grpc_api.services.declared import compare

PROPOSAL: dict[str, Any] = {
    "strategy": 3,
    "target_services": ["service-1"],
    "changes": [{"parameter": "model", "old_value": "claude-3-opus", "new_value": "claude-3-haiku", "change_type": 1}],
    "rationale": "Reduce costs while maintaining quality",
    "expected_impact": {
        "cost_reduction_pct": 50.0, "quality_delta_pct": -5.0, "latency_delta_pct": 10.0, "confidence": 0.85,
    },
    "constraints": [{"constraint_type": "max_quality_drop_pct", "value": "6", "hard": True}],
}  # fmt: skip


async def test_what_is_created_is_found(stack: Stack) -> None:
    optimization = stack.stub("optimization")
    made = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
    assert made.status == optimization.pb.DECISION_STATUS_PENDING
    assert made.id
    assert made.created_at.seconds
    found = await optimization.call("GetOptimization", decision_id=made.id)
    assert found.decision == made
    assert found.status.status == 1
    assert made.changes[0].new_value == "claude-3-haiku"
    assert made.expected_impact.confidence == 0.85
    assert await optimization.fails("GetOptimization", decision_id="opt-123") is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": 0},
        {"strategy": 42},
        {"target_services": []},
        {"target_services": ["a b"]},
        {"changes": [{"parameter": "model", "new_value": "x"}]},
        {"changes": [{"parameter": "", "new_value": "x", "change_type": 1}]},
        {"expected_impact": {"confidence": 7.0}},
    ],
)
async def test_what_cannot_be_is_refused(stack: Stack, wrong: dict[str, Any]) -> None:
    optimization = stack.stub("optimization")
    assert await optimization.fails("CreateOptimization", **PROPOSAL | wrong) is grpc.StatusCode.INVALID_ARGUMENT
    assert (await optimization.call("ListOptimizations")).pagination.total_items == 0


async def test_lists_are_filtered_paged_and_sorted(stack: Stack) -> None:
    optimization = stack.stub("optimization")
    made = [
        (await optimization.call("CreateOptimization", **PROPOSAL | {"strategy": 1 + i % 2})).decision for i in range(5)
    ]
    ids = [each.id for each in made]
    await optimization.call("CancelOptimization", decision_id=ids[0], reason="no")

    async def listed(**filters: Any) -> list[str]:
        return [each.id for each in (await optimization.call("ListOptimizations", **filters)).decisions]

    assert await listed() == ids[::-1]
    assert await listed(pagination={"ascending": True, "page_size": 2, "page": 2}) == ids[2:4]
    assert await listed(status_filter=[10]) == [ids[0]]
    assert await listed(strategy_filter=[2], status_filter=[1]) == [ids[3], ids[1]]
    assert await listed(time_range={"start": made[1].created_at, "end": made[3].created_at}) == [ids[2], ids[1]]
    assert await listed(pagination={"page": 99}) == []
    for wrong in ({"pagination": {"page": -1}}, {"pagination": {"page_size": 5000}}, {"status_filter": [77]},
                  {"pagination": {"sort_by": "beauty"}},
                  {"time_range": {"start": {"seconds": 2}, "end": {"seconds": 1}}}):  # fmt: skip
        assert await optimization.fails("ListOptimizations", **wrong) is grpc.StatusCode.INVALID_ARGUMENT


async def test_validation_measures(stack: Stack) -> None:
    await compare(stack)
    optimization = stack.stub("optimization")
    change = {"parameter": "model", "old_value": "large", "new_value": "small", "change_type": 1}
    wanted = PROPOSAL | {"target_services": ["chat"], "changes": [change]}
    made = (await optimization.call("CreateOptimization", **wanted)).decision
    outcome = (await optimization.call("ValidateOptimization", decision_id=made.id, dry_run=True)).validation
    assert outcome.valid
    assert outcome.revised_impact.cost_reduction_pct == pytest.approx(50)
    assert outcome.revised_impact.latency_delta_pct == pytest.approx(-20, abs=2)
    bad = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
    outcome = (await optimization.call("ValidateOptimization", decision_id=bad.id)).validation
    assert (outcome.valid, outcome.errors[0].code) == (False, "NOT_FOUND")
    assert (await optimization.call("GetOptimization", decision_id=bad.id)).decision.status == 3


async def test_cancelling_twice(stack: Stack) -> None:
    optimization = stack.stub("optimization")
    made = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
    cancelled = (await optimization.call("CancelOptimization", decision_id=made.id, reason="late")).decision
    assert (cancelled.status, cancelled.metadata["cancel_reason"]) == (10, "late")
    assert await optimization.fails("CancelOptimization", decision_id=made.id) is grpc.StatusCode.FAILED_PRECONDITION
    assert await optimization.fails("CancelOptimization", decision_id="x") is grpc.StatusCode.NOT_FOUND


async def test_a_batch_harms_only_its_bad_items(stack: Stack) -> None:
    optimization = stack.stub("optimization")
    request = optimization.pb.CreateOptimizationRequest
    batch = [request(**PROPOSAL), request(**PROPOSAL | {"strategy": 0}), request(**PROPOSAL)]
    outcome = await optimization.call("BatchCreateOptimizations", iter(batch))
    assert (outcome.successful, outcome.failed, len(outcome.decisions)) == (2, 1, 2)
    assert outcome.status.status == 2
    assert outcome.status.errors[0].metadata["index"] == "1"
    assert (await optimization.call("ListOptimizations")).pagination.total_items == 2


async def test_events_honour_their_filters(stack: Stack) -> None:
    optimization = stack.stub("optimization")
    first = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
    everything = optimization.subscribed("SubscribeOptimizationEvents")
    some = optimization.subscribed("SubscribeOptimizationEvents", decision_ids=[first.id], status_filter=[10])
    async with everything as one, some as two:
        second = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
        await optimization.call("ValidateOptimization", decision_id=first.id)
        await optimization.call("CancelOptimization", decision_id=second.id)
        other = (await optimization.call("CreateOptimization", **PROPOSAL)).decision
        seen = [await one.next() for _ in range(4)]
        assert [(event.decision_id, event.status) for event in seen] == [
            (second.id, 1),
            (first.id, 3),
            (second.id, 10),
            (other.id, 1),
        ]
        assert seen[0].message == "created"
        failed = (await optimization.call("GetOptimization", decision_id=first.id)).decision
        assert failed.status == optimization.pb.DECISION_STATUS_VALIDATION_FAILED
        await optimization.call("CancelOptimization", decision_id=first.id)
        assert (await two.next()).decision_id == first.id
    wrong = await optimization.fails("SubscribeOptimizationEvents", status_filter=[99])
    assert wrong is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_session_suggests_from_what_was_measured(stack: Stack) -> None:
    await compare(stack, calls=200)
    optimization = stack.stub("optimization")
    pb, asked = optimization.pb, queue.SimpleQueue[Any]()
    message, control = pb.OptimizationSessionMessage, pb.OptimizationSessionControl
    async with optimization.subscribed("OptimizationSession", iter(asked.get, None)) as answers:
        asked.put(message(control=control(type=control.CONTROL_TYPE_START, session_id="s")))
        assert (await answers.next()).control.session_id == "s"
        asked.put(message(query=pb.OptimizationQuery(target_services=["chat"], focus_areas=["cost"])))
        found = (await answers.next()).suggestion
        assert found.proposed_decision.changes[0].new_value == "small"
        assert found.proposed_decision.id == ""
        assert "50.0 % better in cost" in found.explanation
        assert 0.4 < found.confidence_score <= 1
        asked.put(message(feedback=pb.OptimizationFeedback(suggestion_id=found.suggestion_id, accepted=False)))
        refused = (await answers.next()).suggestion
        assert not refused.HasField("proposed_decision")
        assert refused.explanation
        for kind in (control.CONTROL_TYPE_PAUSE, control.CONTROL_TYPE_RESUME):
            asked.put(message(control=control(type=kind)))
            assert (await answers.next()).control.type == kind
        asked.put(message(control=control(type=control.CONTROL_TYPE_END)))
        assert (await answers.next()).control.type == control.CONTROL_TYPE_END
        assert await answers.end() is None
        asked.put(None)


async def test_accepting_a_suggestion_creates_it(stack: Stack) -> None:
    await compare(stack, calls=200)
    optimization = stack.stub("optimization")
    pb = optimization.pb
    message, control = pb.OptimizationSessionMessage, pb.OptimizationSessionControl
    script = [
        message(control=control(type=control.CONTROL_TYPE_START, session_id="s")),
        message(control=control(type=control.CONTROL_TYPE_PAUSE)),
        message(query=pb.OptimizationQuery()),
        message(control=control(type=control.CONTROL_TYPE_RESUME)),
        message(
            feedback=pb.OptimizationFeedback(
                suggestion_id="s/1", accepted=True, feedback_text="good", adjustments={"temperature": "0.2"}
            )
        ),
        message(control=control(type=control.CONTROL_TYPE_END)),
    ]
    answers = await optimization.all("OptimizationSession", iter(script))
    assert [answer.WhichOneof("message") for answer in answers] == [
        "control", "control", "control", "suggestion", "suggestion", "control",
    ]  # fmt: skip
    made = answers[4].suggestion.proposed_decision
    stored = (await optimization.call("GetOptimization", decision_id=made.id)).decision
    assert stored == made
    assert {change.parameter: change.new_value for change in stored.changes} == {"model": "small", "temperature": "0.2"}
    assert not stored.HasField("expected_impact"), "what was measured belongs to the values as suggested"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"query": {}}], grpc.StatusCode.FAILED_PRECONDITION),
        ([{"control": {"type": 0}}], grpc.StatusCode.INVALID_ARGUMENT),
        ([{"control": {"type": 1}}] * 2, grpc.StatusCode.FAILED_PRECONDITION),
        ([{}], grpc.StatusCode.INVALID_ARGUMENT),
        ([{"control": {"type": 1}}, {"query": {"target_services": ["nobody"]}}], grpc.StatusCode.NOT_FOUND),
        ([{"control": {"type": 1}}, {"feedback": {"suggestion_id": "x"}}], grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_session_that_goes_wrong(stack: Stack, messages: list[Any], code: grpc.StatusCode) -> None:
    optimization = stack.stub("optimization")
    requests = [optimization.pb.OptimizationSessionMessage(**fields) for fields in messages]
    assert await optimization.fails("OptimizationSession", iter(requests)) is code


TO_SMALL = PROPOSAL | {
    "target_services": ["chat"],
    "changes": [{"parameter": "model", "old_value": "large", "new_value": "small", "change_type": 1}],
}


async def test_deploying_rolling_back_and_the_events_of_it(stack: Stack) -> None:
    await compare(stack)
    optimization = stack.stub("optimization")
    made = (await optimization.call("CreateOptimization", **TO_SMALL)).decision
    async with optimization.subscribed("SubscribeOptimizationEvents", decision_ids=[made.id]) as events:
        deployed = await optimization.call(
            "DeployOptimization", decision_id=made.id, canary=True, canary_percentage=10.0
        )
        assert deployed.decision.status == optimization.pb.DECISION_STATUS_MONITORING
        rollout = await stack.rooms.processor.get().rollouts.get(deployed.deployment_id)
        assert list(rollout.spec.stages) == [10, 25, 50, 100]
        again = await optimization.fails("DeployOptimization", decision_id=made.id)
        assert again is grpc.StatusCode.FAILED_PRECONDITION
        back = (await optimization.call("RollbackOptimization", decision_id=made.id, reason="no")).decision
        assert back.status == optimization.pb.DECISION_STATUS_ROLLED_BACK
        assert back.rolled_back_at.seconds
        assert [(await events.next()).status for _ in range(4)] == [4, 7, 7, 8]
    wrong = await optimization.fails("DeployOptimization", decision_id=made.id, canary=True, canary_percentage=200.0)
    assert wrong is grpc.StatusCode.INVALID_ARGUMENT


async def test_created_and_deployed_in_one(stack: Stack) -> None:
    await compare(stack)
    optimization = stack.stub("optimization")
    made = (await optimization.call("CreateOptimization", **TO_SMALL, auto_deploy=True)).decision
    assert made.status == optimization.pb.DECISION_STATUS_MONITORING
    cancelled = (await optimization.call("CancelOptimization", decision_id=made.id, reason="late")).decision
    assert cancelled.status == optimization.pb.DECISION_STATUS_CANCELLED
    bad = (await optimization.call("CreateOptimization", **PROPOSAL, auto_deploy=True)).decision
    assert bad.status == optimization.pb.DECISION_STATUS_VALIDATION_FAILED
