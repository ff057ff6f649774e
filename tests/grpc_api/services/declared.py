"""A declared service and feedback about it, through the gRPC front door."""

from typing import Any

from tests.grpc_api.services.conftest import NOW, Stack


async def declare(stack: Stack, name: str = "chat", **fields: Any) -> Any:
    """Declare a service with variants a (large) and b (small); a is the baseline."""
    routing = stack.stub("routing")
    wanted = {
        "name": name,
        "objective": {"goal": routing.pb.GOAL_MINIMIZE_COST},
        "variants": [
            {"name": "a", "config": struct(model="large", temperature=0)},
            {"name": "b", "config": struct(model="small", temperature=0)},
        ],
        "baseline": "a",
        "segment_by": ["task"],
        **fields,
    }
    return await routing.call("PutService", service=wanted)


def struct(**fields: Any) -> Any:
    """A google.protobuf.Struct."""
    from google.protobuf.struct_pb2 import Struct

    made = Struct()
    made.update(fields)
    return made


def event(number: int, *, service: str = "chat", at_s: float = -60.0, **fields: Any) -> dict[str, Any]:
    """The fields of a FeedbackEvent, a minute ago."""
    moment = NOW + int(at_s * 1e6)
    return {
        "event_id": f"e{number}",
        "occurred_at": {"seconds": moment // 1_000_000, "nanos": moment % 1_000_000 * 1_000},
        "service": service,
        **fields,
    }


async def compare(stack: Stack, calls: int = 60) -> None:
    """Declare "chat" and tell that b costs half of a, at the same quality."""
    await declare(stack)
    feedback = stack.stub("feedback")
    events = [
        event(i, variant=v, cost_usd=c, quality=0.9, latency_ms=100.0 if v == "a" else 80.0, model=m, input_tokens=10)
        for i in range(calls)
        for v, c, m in [("a", "0.02", "large") if i % 2 else ("b", "0.01", "small")]
    ]
    receipt = await feedback.call("RecordFeedback", events=events)
    assert receipt.accepted == calls
    await folded(stack)


async def folded(stack: Stack) -> None:
    """Return when everything durable is in reports and histories."""
    part, end = stack.rooms.processor.get(), await stack.store.end()
    seen = part.progress.version
    while part.progress.get() < end:
        _, seen = await part.progress.wait_beyond(seen)
    await part.chronicle.fresh()
