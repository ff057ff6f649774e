"""The intake: what is refused and why, what is acknowledged, and that one bad item never rejects the batch."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.collector import Bounds, Intake
from optimizer.collector.schema import micros
from optimizer.core import records
from optimizer.core.assignment import encode
from optimizer.model import (
    FeedbackEvent,
    InvalidArgument,
    Listing,
    Objective,
    ResourceExhausted,
    Service,
    StorageUnavailable,
    Variant,
)
from optimizer.storage import Store
from optimizer.storage.memory import MemoryState, open_memory

KEY = b"k" * 32
NOW = micros(datetime(2026, 6, 1, tzinfo=UTC))
SERVICE = Service(name="chat", objective=Objective(goal="minimize_cost"), variants=(Variant(name="a"),), baseline="a")
LISTINGS = {"chat": Listing(SERVICE, frozenset({"a", "retired"}))}


def unpriced(event: FeedbackEvent) -> FeedbackEvent:
    return event


def make_intake(store: Store, *, pending: int = 10_000, largest_batch: int = 10_000) -> Intake:
    return Intake(
        store,
        lambda: LISTINGS,
        keys=(KEY,),
        price=unpriced,
        now=lambda: NOW,
        bounds=Bounds(pending=pending, batch=largest_batch, future_us=300_000_000, past_us=366 * 86_400_000_000),
    )


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_memory() as opened:
        yield opened


def item(i: int, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{i}",
        "occurred_at": "2026-05-31T12:00:00+00:00",
        "service": "chat",
        "variant": "a",
        **fields,
    }


async def stored(store: Store) -> list[FeedbackEvent]:
    return [records.decode_feedback(e.payload) for e in await store.read(0, 1000) if e.kind == records.FEEDBACK]


def assignment(service: str = "chat", key: bytes = KEY) -> str:
    return encode(
        key,
        service=service,
        policy_version=1,
        segment="*",
        variant=0,
        reason="exploit",
        decided_at=1,
        nonce=b"12345678",
    )


async def test_a_good_batch_is_durable_when_acknowledged(store: Store) -> None:
    receipt = await make_intake(store).feedback([item(1, cost_usd="0.000000123456789"), item(2, input_tokens=5)])
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (2, 0, ())
    first, second = await stored(store)
    assert (first.cost_usd, first.cost_source) == (Decimal("0.000000123456789"), "reported")
    assert (second.cost_usd, second.cost_source, second.input_tokens) == (None, None, 5)
    assert (first.received_at, first.occurred_at) == (NOW, NOW - 12 * 3600 * 1_000_000)


async def test_duplicates_within_and_across_batches_are_acknowledged_and_not_counted(store: Store) -> None:
    intake = make_intake(store)
    within = await intake.feedback([item(1), item(1), item(2)])
    across = await intake.feedback([item(2), item(3)])
    assert (within.accepted, within.duplicates) == (2, 1)
    assert (across.accepted, across.duplicates) == (1, 1)
    assert [e.event_id for e in await stored(store)] == ["e1", "e2", "e3"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"latency_ms": float("nan")}, "latency_ms"),
    ({"latency_ms": float("inf")}, "latency_ms"),
    ({"latency_ms": -1.0}, "latency_ms"),
    ({"latency_ms": "12"}, "latency_ms"),
    ({"latency_ms": 10**400}, "latency_ms"),
    ({"input_tokens": -1}, "input_tokens"),
    ({"input_tokens": 2**60}, "input_tokens"),
    ({"input_tokens": 1.5}, "input_tokens"),
    ({"input_tokens": True}, "input_tokens"),
    ({"cost_usd": "-0.01"}, "cost_usd"),
    ({"cost_usd": "NaN"}, "cost_usd"),
    ({"cost_usd": "1e40"}, "cost_usd"),
    ({"cost_usd": {}}, "cost_usd"),
    ({"quality": 1.01}, "quality"),
    ({"rating": float("-inf")}, "rating"),
    ({"occurred_at": "yesterday"}, "occurred_at"),
    ({"occurred_at": "2026-05-31T12:00:00"}, "occurred_at"),
    ({"occurred_at": "1969-01-01T00:00:00Z"}, "occurred_at"),
    ({"occurred_at": "2026-06-01T00:06:00Z"}, "occurred_at"),
    ({"occurred_at": "2025-01-01T00:00:00Z"}, "occurred_at"),
    ({"occurred_at": 10**30}, "occurred_at"),
    ({"service": "nobody"}, "service"),
    ({"service": "no spaces allowed"}, "service"),
    ({"service": 7}, "service"),
    ({"variant": "z"}, "variant"),
    ({"variant": ""}, "variant"),
    ({"event_id": ""}, "event_id"),
    ({"event_id": "x" * 513}, "event_id"),
    ({"event_id": None}, "event_id"),
    ({"event_id": "a\0b"}, "event_id"),
    ({"request_id": "\ud800"}, "request_id"),
    ({"context": {"k": []}}, "context.k"),
    ({"context": {"k": float("nan")}}, "context.k"),
    ({"context": {f"k{i}": 1 for i in range(65)}}, "context"),
    ({"context": [1]}, "context"),
    ({"surprise": 1}, "surprise"),
    ({"assignment_id": "forged"}, "assignment_id"),
    ({"assignment_id": assignment(key=b"x" * 32)}, "assignment_id"),
    ({"assignment_id": assignment(service="other")}, "assignment_id"),
]


@pytest.mark.parametrize(("fields", "field"), BAD, ids=lambda v: str(v)[:40] if isinstance(v, dict) else v)
async def test_a_bad_item_is_refused_by_name_and_the_rest_is_kept(
    store: Store, fields: dict[str, Any], field: str
) -> None:
    receipt = await make_intake(store).feedback([item(1), item(2, **fields), item(3)])
    assert receipt.accepted == 2
    (rejection,) = receipt.rejected
    assert (rejection.index, rejection.field) == (1, field)
    assert rejection.error
    assert [e.event_id for e in await stored(store)] == ["e1", "e3"]


@pytest.mark.parametrize("whole", [None, 1, "text", [], [item(1)], True])
async def test_an_item_that_is_not_an_object_is_refused(store: Store, whole: object) -> None:
    receipt = await make_intake(store).feedback([whole, item(2)])
    assert (receipt.accepted, len(receipt.rejected), receipt.rejected[0].index) == (1, 1, 0)


async def test_a_retired_variant_is_still_known(store: Store) -> None:
    assert (await make_intake(store).feedback([item(1, variant="retired")])).accepted == 1


async def test_scores_need_a_call_and_are_deduplicated(store: Store) -> None:
    intake = make_intake(store)
    score = {"score_id": "s1", "value": 0.5, "source": "human", "occurred_at": "2026-05-31T12:00:00Z"}
    receipt = await intake.scores([score, {**score, "request_id": "r"}, {**score, "request_id": "r"}])
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert receipt.rejected[0].index == 0
    bad = await intake.scores([{**score, "request_id": "r", "value": 2}, {**score, "request_id": "r", "source": "cat"}])
    assert [r.field for r in bad.rejected] == ["value", "source"]


async def test_a_batch_over_the_limit_is_refused_whole(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="at most 2"):
        await make_intake(store, largest_batch=2).feedback([item(i) for i in range(3)])
    assert await store.end() == 0


async def test_overload_is_shed_before_work_and_recovers() -> None:
    gate = trio.Event()

    async def hold(moment: str) -> None:
        if moment == "before_append":
            await gate.wait()

    async with open_memory(MemoryState(), faults=hold) as store, trio.open_nursery() as nursery:
        intake = make_intake(store, pending=3)
        nursery.start_soon(intake.feedback, [item(1), item(2)])
        await trio.testing.wait_all_tasks_blocked()
        assert intake.pending == 2
        with pytest.raises(ResourceExhausted):
            await intake.feedback([item(3), item(4)])
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert intake.pending == 0
        assert (await intake.feedback([item(3), item(4)])).accepted == 2


async def test_nothing_is_acknowledged_when_storage_is_away() -> None:
    async def fail(moment: str) -> None:
        if moment == "before_append":
            raise StorageUnavailable("the disk is full")

    async with open_memory(MemoryState(), faults=fail) as store:
        intake = make_intake(store)
        with pytest.raises(StorageUnavailable):
            await intake.feedback([item(1)])
        assert intake.pending == 0


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [*item(0), "cost_usd", "quality", "context", "attributes", "latency_ms", "assignment_id", "rating"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(names, json, max_size=6), max_size=4))
def test_no_json_breaks_the_intake(changes: list[dict[str, Any]]) -> None:
    async def main() -> None:
        async with open_memory() as store:
            batch = [{**item(i), **change} for i, change in enumerate(changes)]
            receipt = await make_intake(store).feedback(batch)
            assert receipt.accepted + receipt.duplicates + len(receipt.rejected) == len(batch)
            assert len(await stored(store)) == receipt.accepted

    trio.run(main)


def test_the_schema_has_every_field_of_the_event() -> None:
    from optimizer.collector.schema import FeedbackItem

    stamped = {"received_at", "cost_source", "dialect", "usage_quality", "span_id"}
    assert set(FeedbackItem.__annotations__) == {f.name for f in msgspec.structs.fields(FeedbackEvent)} - stamped
