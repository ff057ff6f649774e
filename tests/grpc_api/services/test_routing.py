"""RoutingService through an unmodified client."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from optimizer.model import Alert
from tests.grpc_api.services.conftest import NOW, Stack
from tests.grpc_api.services.declared import compare, declare, event, folded, struct


async def test_a_service_is_declared_read_and_listed(stack: Stack) -> None:
    routing = stack.stub("routing")
    made = await declare(stack, objective={
        "goal": routing.pb.GOAL_WEIGHTED, "weights": {"quality": 0.5, "cost": 0.5},
        "constraints": [
            {"metric": "quality", "min": 0.8}, {"metric": "latency_ms", "quantile": 0.95, "max": 3000.0},
            {"metric": "cost_usd", "max_mean": "0.01"}, {"metric": "quality", "min_ratio_to_best": 0.95},
        ],
    }, holdout=0.02, lease_s=60.0)  # fmt: skip
    found = await routing.call("GetService", service="chat")
    assert found.service == made.service
    assert found.version == made.version > 0
    assert found.service.variants[0].config["model"] == "large"
    assert (found.service.lease_s, found.service.holdout, found.service.mode) == (60.0, 0.02, routing.pb.MODE_LEARN)
    assert [c.WhichOneof("_max_mean") is not None for c in found.service.objective.constraints] == [
        False,
        False,
        True,
        False,
    ]
    await declare(stack, "code")
    listed = await routing.call("ListServices", pagination={"page_size": 1, "page": 2})
    assert ([each.name for each in listed.services], listed.pagination.total_items) == (["code"], 2)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"baseline": "x"}, "baseline"),
        ({"objective": {}}, "objective.goal"),
        ({"objective": {"goal": 1, "constraints": [{"metric": "beauty", "min": 1}]}}, "objective.constraints.0.metric"),
        (
            {"objective": {"goal": 1, "constraints": [{"metric": "cost_usd", "max_mean": "x"}]}},
            "objective.constraints.0",
        ),
        ({"holdout": 2.0}, "holdout"),
        ({"lease_s": float("nan")}, "lease_s"),
        ({"variants": []}, "variants"),
        ({"mode": 9}, "mode"),
    ],
)
async def test_a_declaration_that_cannot_be(stack: Stack, fields: dict[str, Any], field: str) -> None:
    routing = stack.stub("routing")
    wanted = {
        "name": "chat", "objective": {"goal": 1}, "variants": [{"name": "a"}], "baseline": "a", **fields,
    }  # fmt: skip
    error = await routing.failure("PutService", service=wanted)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert field.encode() in details


async def test_a_declaration_is_replaced_only_from_the_version_that_was_read(stack: Stack) -> None:
    made = await declare(stack)
    routing = stack.stub("routing")
    again = {"service": made.service, "expected_version": 0}
    assert await routing.fails("PutService", **again) is grpc.StatusCode.ABORTED
    made.service.baseline = "b"
    replaced = await routing.call("PutService", service=made.service, expected_version=made.version)
    assert replaced.version > made.version
    assert (await routing.call("GetService", service="chat")).service.baseline == "b"


async def test_decide_answers_what_feedback_needs(stack: Stack) -> None:
    await declare(stack)
    routing = stack.stub("routing", "api_user")
    made = await routing.call("Decide", service="chat", context=struct(task="math", size=812), key="user-1")
    assert made.variant in ("a", "b")
    assert made.config["model"] == {"a": "large", "b": "small"}[made.variant]
    assert 0 < made.probability <= 1
    assert made.expires_at.seconds > NOW // 1_000_000
    assert made.reason in (routing.pb.REASON_EXPLOIT, routing.pb.REASON_EXPLORE)
    again = await routing.call("Decide", service="chat", context=struct(task="math"), key="user-1")
    assert again.variant == made.variant
    assert await routing.fails("Decide", service="nobody") is grpc.StatusCode.NOT_FOUND
    nested = struct(deep={"a": 1})
    assert await routing.fails("Decide", service="chat", context=nested) is grpc.StatusCode.INVALID_ARGUMENT
    assert await routing.fails("Decide", service="chat", key="k" * 600) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_of_decisions_goes_on_after_an_error(stack: Stack) -> None:
    await declare(stack)
    routing = stack.stub("routing")

    def requests() -> Iterator[Any]:
        for i in range(300):
            yield routing.pb.DecideRequest(service="nobody" if i % 100 == 7 else "chat", request_id=f"r{i}")

    replies = await routing.all("DecideStream", requests())
    assert [reply.index for reply in replies] == list(range(300))
    assert [reply.request_id for reply in replies] == [f"r{i}" for i in range(300)]
    failed = [reply.index for reply in replies if reply.WhichOneof("outcome") == "error"]
    assert failed == [7, 107, 207]
    assert replies[7].error.code == "NOT_FOUND"
    assert len({reply.decision.assignment_id for reply in replies if reply.HasField("decision")}) == 297


async def test_the_report_is_what_was_folded(stack: Stack) -> None:
    await compare(stack)
    routing = stack.stub("routing", "readonly")
    report = await routing.call("GetReport", service="chat")
    assert (report.totals.events, report.totals.cost_usd, report.totals.input_tokens) == (60, "0.90", 600)
    rows = {row.variant: row for row in report.rows}
    assert (rows["a"].calls, rows["b"].calls, rows["b"].cost_usd) == (30, 30, "0.30")
    assert rows["b"].quality == pytest.approx(0.9)
    assert {round(quantile.q, 2) for quantile in rows["a"].latency_ms} == {0.5, 0.95, 0.99}
    assert rows["a"].latency_ms[0].value == pytest.approx(100, rel=0.02)
    assert sum(row.probability for row in report.rows) == pytest.approx(1)
    split = await routing.call("GetReport", service="chat", segment_by=["task"])
    assert len(split.rows) > len(report.rows)
    assert await routing.fails("GetReport", service="nobody") is grpc.StatusCode.NOT_FOUND
    assert await routing.fails("GetReport", service="chat", segment_by=["x"]) is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_assignment_is_explained(stack: Stack) -> None:
    await declare(stack)
    routing = stack.stub("routing")
    made = await routing.call("Decide", service="chat", context=struct(task="math"))
    why = await routing.call("ExplainAssignment", service="chat", assignment_id=made.assignment_id)
    assert (why.variant, why.policy_version, why.reason) == (made.variant, made.policy_version, made.reason)
    assert why.probability == pytest.approx(made.probability)
    assert sum(candidate.probability for candidate in why.candidates) == pytest.approx(1)
    assert abs(why.decided_at.seconds - NOW // 1_000_000) < 60
    assert why.evidence["policy_version"] == made.policy_version
    forged = {"service": "chat", "assignment_id": made.assignment_id[:-2] + "xx"}
    assert await routing.fails("ExplainAssignment", **forged) is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_optimization_is_explained(stack: Stack) -> None:
    await compare(stack)
    optimization, routing = stack.stub("optimization"), stack.stub("routing")
    change = {"parameter": "model", "old_value": "large", "new_value": "small", "change_type": 1}
    made = await optimization.call(
        "CreateOptimization", strategy=3, target_services=["chat"], changes=[change], rationale="cheaper"
    )
    why = await routing.call("ExplainOptimization", optimization_id=made.decision.id)
    assert "cheaper" in why.explanation
    assert why.evidence["validation"]["revised_impact"]["cost_reduction_pct"] == pytest.approx(50)
    assert await routing.fails("ExplainOptimization", optimization_id="x") is grpc.StatusCode.NOT_FOUND


async def test_watchers_get_the_state_and_then_what_changes(stack: Stack) -> None:
    await declare(stack)
    routing = stack.stub("routing")
    async with routing.subscribed("WatchServices", services=["chat", "later"]) as replies:
        declared, policy = await replies.next(), await replies.next()
        assert (declared.service, declared.declared.name) == ("chat", "chat")
        assert list(policy.policy.variants) == ["a", "b"]
        await declare(stack, "unwatched")
        await declare(stack, "later")
        assert (await replies.next()).declared.name == "later"
        assert (await replies.next()).policy.version == 1


async def test_alerts_are_listed_by_filter(stack: Stack) -> None:
    for i in range(5):
        alert = Alert(
            alert_id=f"a{i}", alert_type="drift", severity="warning", metric="latency_ms", at=NOW + i, value=float(i),
            title="slow", service="chat" if i % 2 else None,
        )  # fmt: skip
        await stack.rooms.offices.alerts.raise_alert(alert)
    routing = stack.stub("routing")
    everything = await routing.call("ListAlerts")
    assert [alert.alert_id for alert in everything.alerts] == ["a4", "a3", "a2", "a1", "a0"]
    assert everything.alerts[0].timestamp.nanos == 4_000
    assert not everything.alerts[0].HasField("service")
    some = await routing.call("ListAlerts", service="chat", metric="latency_ms", limit=1)
    assert [alert.alert_id for alert in some.alerts] == ["a3"]
    assert await routing.fails("ListAlerts", limit=5000) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_policy_learns_from_what_comes_back(stack: Stack) -> None:
    await compare(stack, calls=400)
    await folded(stack)
    routing = stack.stub("routing")
    replies = await routing.all("DecideStream", iter([routing.pb.DecideRequest(service="chat")] * 200))
    cheap = sum(reply.decision.variant == "b" for reply in replies)
    assert cheap > 150


async def test_the_ledger_states_what_the_holdout_says(stack: Stack) -> None:
    await declare(stack, holdout=0.3)
    routing, feedback = stack.stub("routing"), stack.stub("feedback")
    assert not (await routing.call("GetReport", service="chat")).HasField("ledger")
    requests = [routing.pb.DecideRequest(service="chat")] * 600
    decisions = [reply.decision for reply in await routing.all("DecideStream", iter(requests))]
    costs = {"a": "0.02", "b": "0.01"}
    events = [
        event(i, assignment_id=d.assignment_id, cost_usd=costs[d.variant], quality=0.9) for i, d in enumerate(decisions)
    ]
    await feedback.call("RecordFeedback", events=events)
    await folded(stack)
    ledger = (await routing.call("GetReport", service="chat")).ledger
    assert ledger.treated_events + ledger.holdout_events == 600
    assert ledger.holdout_events > 100
    assert float(ledger.saved_low_usd) < float(ledger.saved_usd) < float(ledger.saved_high_usd)
    assert ledger.confidence == 0.95
