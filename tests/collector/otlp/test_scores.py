"""Judgements in telemetry: on the span, on a later span that links it, in a log record; whatever comes first."""

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from optimizer.collector.otlp import Media, Outcome, Signal, export
from optimizer.core.fold import State
from tests.collector.otlp.conftest import CALL, NOW, Room, make_attributes, make_request, make_span, open_room

LATER = (NOW - 1_000_000) * 1000


async def send(room: Room, *spans: Any) -> Outcome:
    return await export(room.intake, Signal.TRACES, make_request(*spans).SerializeToString(), Media.PROTOBUF)


async def log(room: Room, *found: LogRecord) -> Outcome:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.scope_logs.add().log_records.extend(found)
    return await export(room.intake, Signal.LOGS, request.SerializeToString(), Media.PROTOBUF)


def evaluation(value: float, number: int | None = 1, **attributes: object) -> LogRecord:
    told = {"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.value": value, **attributes}
    ids = {} if number is None else make_ids(number)
    return LogRecord(
        event_name="gen_ai.evaluation.result", time_unix_nano=LATER, attributes=make_attributes(told), **ids
    )


def make_ids(number: int) -> dict[str, Any]:
    return {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}


def carrier(number: int, target: int, score: float) -> Span:
    """A span made later, only to carry an annotation of another."""
    told = {
        "annotations.0.annotation.name": "quality",
        "annotations.0.annotation.score": score,
        "annotations.0.annotation.annotator_kind": "HUMAN",
    }
    return make_span(number, told, links=[Span.Link(**make_ids(target))])


async def fold(room: Room) -> State:
    """What the fold makes of the log, after a declaration of the service."""
    from optimizer.core import records
    from tests.collector.otlp.conftest import CHAT

    state = State()
    state.apply(0, records.SERVICE, records.encode(records.Declared("chat", NOW, CHAT)), {})
    for entry in await room.store.read(0, 1_000):
        state.apply(entry.offset, entry.kind, entry.payload, {})
    return state


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("way", ["link", "record", "response"])
async def test_a_judgement_finds_its_call_in_any_order(way: str, late: bool) -> None:
    async with open_room() as room:
        call = make_span(1, {**CALL, "gen_ai.response.id": "resp-1"})

        async def judge() -> None:
            if way == "link":
                outcome = await send(room, carrier(2, 1, 0.75))
            elif way == "record":
                outcome = await log(room, evaluation(0.75))
            else:
                outcome = await log(room, evaluation(0.75, None, **{"gen_ai.response.id": "resp-1"}))
            assert (outcome.taken, outcome.message) == (1, "")

        if late:
            await send(room, call)
            await judge()
        else:
            await judge()
            await send(room, call)
        state = await fold(room)
        cell = state.services["chat"].cell("*", "small")
        assert (cell.calls, cell.quality_known, cell.quality_sum) == (1, 1, 0.75)
        assert state.orphans.waiting == {}


async def test_a_judgement_on_the_span_itself_comes_with_it_and_counts_once() -> None:
    async with open_room() as room:
        event = Span.Event(
            name="gen_ai.evaluation.result",
            time_unix_nano=LATER,
            attributes=make_attributes({"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.label": "pass"}),
        )
        span = make_span(1, events=[event])
        assert (await send(room, span)).taken == 2
        assert (await send(room, span)).duplicates == 2
        (score,) = await room.scores()
        assert (score.value, score.name, score.source) == (1.0, "quality", "unknown")
        state = await fold(room)
        assert state.services["chat"].cell("*", "small").quality_sum == 1.0


async def test_what_is_no_judgement_is_refused_or_ignored_and_the_rest_kept() -> None:
    async with open_room() as room:
        plain = LogRecord(time_unix_nano=LATER, attributes=make_attributes({"message": "hello"}))
        far = evaluation(0.5)
        far.time_unix_nano = 2**63
        outcome = await log(room, plain, evaluation(7.0), evaluation(0.5, None), far, evaluation(0.5))
        assert (outcome.taken, outcome.ignored, outcome.refused) == (1, 1, 3)
        assert "outside 0 to 1" in outcome.message
        assert "says neither span nor response" in outcome.message
        assert "future" in outcome.message


async def test_a_refused_judgement_does_not_cost_the_call() -> None:
    async with open_room() as room:
        attributes = {**CALL, "annotations.0.annotation.name": "quality", "annotations.0.annotation.score": 11}
        outcome = await send(room, make_span(1, attributes))
        assert (outcome.taken, outcome.refused) == (1, 0)
        assert "11 is outside" in outcome.message
