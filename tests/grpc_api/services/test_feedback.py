"""FeedbackService through an unmodified client: durable when acknowledged, each event once, bad ones named."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import trio

from optimizer.grpc_api.pb import feedback_pb2
from optimizer.grpc_api.streams.upload import WAITING, Upload
from optimizer.model import ResourceExhausted, StorageUnavailable
from tests.grpc_api.services.conftest import Stack
from tests.grpc_api.services.declared import declare, event, folded, struct


async def test_a_batch_is_durable_and_one_bad_event_harms_only_itself(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback", "api_user")
    events = [
        event(1, variant="a", cost_usd="0.001", input_tokens=5, context=struct(task="math", size=3)),
        event(2, service="unknown"),
        event(3, variant="nobody"),
        event(4, quality=1.5),
        event(5, cost_usd="cheap"),
        event(6, input_tokens=-1),
        event(7, occurred_at={"seconds": 10**14}),
        event(8, context=struct(nested={"a": 1})),
        event(1, variant="a"),
        event(9, latency_ms=float("nan")),
        event(10, rating=0.0, latency_ms=0.0),
    ]
    receipt = await feedback.call("RecordFeedback", events=events)
    assert (receipt.accepted, receipt.duplicates, receipt.rejected_total) == (2, 1, 8)
    assert {rejection.index: rejection.field for rejection in receipt.rejected} == {
        1: "service", 2: "variant", 3: "quality", 4: "cost_usd", 5: "input_tokens", 6: "occurred_at",
        7: "context.nested", 9: "latency_ms",
    }  # fmt: skip
    assert await stack.store.end() >= 2


async def test_a_field_at_zero_is_known_and_an_unset_one_is_not(stack: Stack) -> None:
    await declare(stack)
    feedback, routing = stack.stub("feedback"), stack.stub("routing")
    await feedback.call("RecordFeedback", events=[event(1, variant="a", cost_usd="0", quality=0.0)])
    await feedback.call("RecordFeedback", events=[event(2, variant="b")])
    await folded(stack)
    rows = {row.variant: row for row in (await routing.call("GetReport", service="chat")).rows}
    assert rows["a"].HasField("cost_usd")
    assert rows["a"].HasField("quality")
    assert not rows["b"].HasField("cost_usd")
    assert not rows["b"].HasField("quality")


async def test_feedback_by_assignment_needs_no_service(stack: Stack) -> None:
    await declare(stack)
    routing, feedback = stack.stub("routing"), stack.stub("feedback")
    decision = await routing.call("Decide", service="chat", context=struct(task="math"))
    receipt = await feedback.call(
        "RecordFeedback", events=[{"event_id": "x", "assignment_id": decision.assignment_id, "quality": 1.0}]
    )
    assert receipt.accepted == 1
    forged = await feedback.call("RecordFeedback", events=[{"event_id": "y", "assignment_id": "forged"}])
    assert forged.rejected_total == 1


async def test_scores_come_later(stack: Stack) -> None:
    await declare(stack)
    routing, feedback = stack.stub("routing"), stack.stub("feedback")
    decision = await routing.call("Decide", service="chat")
    await feedback.call("RecordFeedback", events=[{"event_id": "x", "assignment_id": decision.assignment_id}])
    scores = [
        {
            "score_id": "s1",
            "name": "quality",
            "value": 0.25,
            "source": "human",
            "assignment_id": decision.assignment_id,
        },
        {"score_id": "s2", "name": "quality", "source": "human", "assignment_id": decision.assignment_id},
        {"score_id": "s3", "name": "quality", "value": 0.5, "source": "oracle", "request_id": "r"},
    ]
    receipt = await feedback.call("RecordScores", scores=scores)
    assert (receipt.accepted, [rejection.field for rejection in receipt.rejected]) == (1, ["value", "source"])
    await folded(stack)
    rows = {row.variant: row for row in (await routing.call("GetReport", service="chat")).rows}
    assert rows[decision.variant].quality == 0.25


def messages(count: int, size: int, pb: Any) -> Iterator[Any]:
    for i in range(count):
        yield pb.RecordFeedbackRequest(events=[event(i * size + j, variant="a") for j in range(size)])


async def test_a_client_stream_is_summed_up(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback")
    receipt = await feedback.call("UploadFeedback", messages(300, 10, feedback.pb))
    assert (receipt.accepted, receipt.duplicates, receipt.rejected_total) == (3000, 0, 0)
    again = await feedback.call("UploadFeedback", messages(10, 10, feedback.pb))
    assert (again.accepted, again.duplicates) == (0, 100)
    nothing = await feedback.call("UploadFeedback", iter([]))
    assert nothing.accepted == 0


async def test_rejections_of_a_stream_count_from_its_beginning(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback")
    made = feedback.pb.RecordFeedbackRequest
    stream = [made(events=[event(1, variant="a"), event(2, variant="x")]), made(), made(events=[event(3, variant="y")])]
    receipt = await feedback.call("UploadFeedback", iter(stream))
    assert [rejection.index for rejection in receipt.rejected] == [1, 2]


async def test_a_bidirectional_stream_tells_how_far_it_is_durable(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback")
    told = await feedback.all("StreamFeedback", messages(200, 5, feedback.pb))
    assert told[-1].durable_messages == 200
    assert told[-1].accepted == 1000
    assert [progress.durable_messages for progress in told] == sorted(progress.durable_messages for progress in told)


async def test_progress_comes_while_the_stream_is_open(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback")
    requests = queue.SimpleQueue[Any]()
    async with feedback.subscribed("StreamFeedback", iter(requests.get, None)) as replies:
        for i in range(3):
            requests.put(next(messages(1, 1, feedback.pb)))
            assert (await replies.next()).durable_messages == i + 1
        requests.put(None)
        assert await replies.end() is None


async def test_what_came_before_a_failure_is_durable(stack: Stack) -> None:
    await declare(stack)
    feedback = stack.stub("feedback")
    stream = [*messages(3, 5, feedback.pb), *messages(1, 10_001, feedback.pb)]
    assert await feedback.fails("UploadFeedback", iter(stream)) is grpc.StatusCode.INVALID_ARGUMENT
    await folded(stack)
    assert (await stack.stub("routing").call("GetReport", service="chat")).totals.events == 15


async def test_too_many_events_in_one_message_end_the_stream(stack: Stack) -> None:
    feedback = stack.stub("feedback")
    code = await feedback.fails("UploadFeedback", messages(1, 10_001, feedback.pb))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert await feedback.fails("RecordFeedback", messages(1, 10_001, feedback.pb).__next__()) is code


class SlowIntake:
    """Refuses, fails, or holds what it gets."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[int] = []
        self.gate = trio.Event()

    async def feedback(self, items: list[object]) -> Any:
        from optimizer.collector import Receipt

        if self.errors:
            raise self.errors.pop(0)
        await self.gate.wait()
        self.batches.append(len(items))
        return Receipt(len(items), 0, ())


async def stream_of(requests: list[Any], read: list[int]) -> Any:
    for request in requests:
        read.append(1)
        yield request


def upload(intake: SlowIntake) -> Upload:
    from datetime import UTC, datetime

    return Upload(lambda: intake, lambda: datetime(2026, 1, 1, tzinfo=UTC), 10_000)  # type: ignore[arg-type,return-value]


async def test_a_slow_log_slows_the_reader_and_batches_grow(autojump_clock: trio.testing.MockClock) -> None:
    intake, read = SlowIntake(), list[int]()
    requests = list(messages(100, 100, feedback_pb2))
    told: list[Any] = []

    async def tell(progress: Any) -> None:
        told.append(progress)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload(intake).run, stream_of(requests, read), tell)
        await trio.testing.wait_all_tasks_blocked()
        assert len(read) <= 2 * WAITING // 100 + 1, "reads ahead of the log are bounded"
        intake.gate.set()
    assert sum(intake.batches) == 10_000
    assert max(intake.batches) > 100
    assert told[-1].durable_messages == 100


async def test_a_busy_intake_is_waited_for_and_a_lost_store_is_not(autojump_clock: trio.testing.MockClock) -> None:
    async def tell(progress: Any) -> None:
        assert progress.accepted

    busy = SlowIntake(*[ResourceExhausted("full")] * 20)
    busy.gate.set()
    last = await upload(busy).run(stream_of(list(messages(1, 1, feedback_pb2)), []), tell)
    assert last.accepted == 1
    lost = SlowIntake(StorageUnavailable("gone"))
    with pytest.raises(StorageUnavailable):
        await upload(lost).run(stream_of(list(messages(1, 1, feedback_pb2)), []), tell)
    full = SlowIntake(*[ResourceExhausted("full")] * 1000)
    with pytest.raises(ResourceExhausted):
        await upload(full).run(stream_of(list(messages(1, 1, feedback_pb2)), []), tell)
