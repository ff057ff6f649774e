"""Spans on their way into the log: which become calls of which service and variant, what is refused, what is kept."""

import json
from typing import Any

import pytest
import trio
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.collector import Rules
from optimizer.collector.otlp import Media, Outcome, Signal, export
from optimizer.core.assignment import encode
from optimizer.core.records import Declared
from optimizer.model import FeedbackEvent, InvalidArgument, ResourceExhausted, StorageUnavailable
from tests.collector.otlp.conftest import (
    CALL,
    KEY,
    NOW,
    Room,
    make_request,
    make_span,
    open_room,
)


async def send(room: Room, *spans: Any, resource: dict[str, object] | None = None) -> Outcome:
    body = make_request(*spans, resource=resource).SerializeToString()
    return await export(room.intake, Signal.TRACES, body, Media.PROTOBUF)


def assignment(service: str = "chat", key: bytes = KEY) -> str:
    return encode(
        key, service=service, policy_version=1, segment="*", variant=1, reason="exploit", decided_at=1,
        nonce=b"12345678",
    )  # fmt: skip


async def test_a_span_becomes_a_durable_call_and_counts_once() -> None:
    async with open_room() as room:
        first = await send(room, make_span(1), make_span(2, {"http.method": "GET"}))
        again = await send(room, make_span(1))
        assert (first.taken, first.ignored, first.refused, first.message) == (1, 1, 0, "")
        assert (again.taken, again.duplicates) == (0, 1)
        (call,) = await room.calls()
        key = f"{1:032x}-{1:016x}"
        assert (call.event_id, call.span_id, call.service) == (f"span:{key}", key, "chat")
        assert (call.input_tokens, call.output_tokens, call.latency_ms) == (12, 3, 250.0)
        assert (call.variant, call.dialect, call.occurred_at) == ("small", "otel", NOW - 60_000_000)
        assert room.counts["otlp_traces", "ignored"] == 1


@pytest.mark.parametrize(
    ("attributes", "variant"),
    [
        ({"gen_ai.request.model": "big-1"}, "large"),
        ({"gen_ai.request.model": "big-1", "llm_optimizer.variant": "small"}, "small"),
        ({"gen_ai.request.model": "big-1", "optimizer.variant": "small"}, "small"),
        ({"gen_ai.request.model": "another", "gen_ai.response.model": "big-1"}, "large"),
        ({"gen_ai.request.model": "another"}, None),
        ({"gen_ai.request.model": "twin", "gen_ai.provider.name": "azure"}, "there"),
        ({"gen_ai.request.model": "twin", "gen_ai.provider.name": "elsewhere"}, None),
        ({"gen_ai.request.model": "big-1", "llm_optimizer.assignment_id": assignment()}, None),
    ],
)
async def test_the_variant_is_as_told_else_the_only_one_with_the_model(
    attributes: dict[str, object], variant: str | None
) -> None:
    async with open_room() as room:
        assert (await send(room, make_span(1, {**CALL, **attributes}))).taken == 1
        (call,) = await room.calls()
        assert call.variant == variant


async def test_an_assignment_says_the_service_unless_the_span_does() -> None:
    async with open_room() as room:
        mine = {**CALL, "llm_optimizer.assignment_id": assignment()}
        outcome = await send(room, make_span(1, mine), resource={"service.name": "some-web-app"})
        assert (outcome.taken, outcome.message) == (1, "")
        (call,) = await room.calls()
        assert call.service == "chat"
        other = await send(room, make_span(2, {**mine, "llm_optimizer.service": "elsewhere"}))
        assert (other.refused, "belongs to another service" in other.message) == (1, True)
        forged = {**CALL, "llm_optimizer.assignment_id": assignment(key=b"x" * 32)}
        refused = await send(room, make_span(3, forged))
        assert (refused.refused, refused.message) == (1, "the assignment id was not issued by this server")


async def test_a_service_that_nobody_declared_is_observed_not_lost() -> None:
    async with open_room() as room:
        told = {**CALL, "llm_optimizer.variant": "prompt 7"}
        outcome = await send(room, make_span(1), make_span(2, told), resource={"service.name": "checkout / web"})
        assert (outcome.taken, outcome.refused) == (2, 0)
        declared, first, second = await room.log()
        assert isinstance(declared, Declared)
        assert (declared.name, declared.observed, declared.service and declared.service.mode) == (
            "checkout---web", True, "fixed",
        )  # fmt: skip
        assert isinstance(first, FeedbackEvent)
        assert (first.service, first.variant, second.variant) == ("checkout---web", None, None)
        assert second.attributes["llm_optimizer.variant"] == "prompt 7"


async def test_when_too_many_services_are_known_others_are_refused_with_the_reason() -> None:
    async with open_room(rules=Rules(services=1)) as room:
        outcome = await send(room, make_span(1), resource={"service.name": "new"})
        assert (outcome.taken, outcome.refused) == (0, 1)
        assert outcome.message == "service 'new' is not declared"
        nameless = await send(room, make_span(1), resource={})
        assert "names no service" in nameless.message


BAD = [
    (make_span(9, trace_id=b"short"), "trace id"),
    (make_span(9, trace_id=bytes(16)), "trace id"),
    (make_span(9, span_id=bytes(8)), "span id"),
    (make_span(9, span_id=b"123456789"), "span id"),
    (make_span(9, end_time_unix_nano=0), "no end time"),
    (make_span(9, end_time_unix_nano=1), "past"),
    (make_span(9, end_time_unix_nano=2**64 - 1), "future"),
    (make_span(9, {**CALL, **{f"k{i}": i for i in range(10_000)}}), "10005 attributes"),
    (make_span(9, {**CALL, "llm_optimizer.variant": "unheard-of"}), "no variant"),
]


@pytest.mark.parametrize(("span", "reason"), BAD, ids=[reason for _, reason in BAD])
async def test_a_bad_span_is_refused_with_the_reason_and_the_rest_is_kept(span: Any, reason: str) -> None:
    async with open_room() as room:
        outcome = await send(room, make_span(1), span, make_span(2))
        assert (outcome.taken, outcome.refused) == (2, 1)
        assert reason in outcome.message
        assert room.counts["otlp_traces", "refused"] == 1


ODD_BUT_FINE: list[dict[str, object]] = [
    {"nested": {"a": {"b": {"c": 1}}}},
    {"list": [1, "x", [2]]},
    {"bytes": b"\xff\xfe"},
    {"huge": "x" * 100_000},
    {"gen_ai.usage.input_tokens": "many"},
    {"gen_ai.usage.input_tokens": -5},
    {"gen_ai.usage.input_tokens": [1]},
    {"gen_ai.request.model": {"a": 1}},
    {"metadata": '{"a":' * 5_000},
]


@pytest.mark.parametrize("attributes", ODD_BUT_FINE, ids=lambda a: next(iter(a)))
async def test_odd_attributes_do_not_cost_the_call(attributes: dict[str, object]) -> None:
    async with open_room() as room:
        assert (await send(room, make_span(1, {**CALL, **attributes}))).taken == 1


@pytest.mark.parametrize("start_s", [-1e9, -100_000.0, 5.0])
async def test_a_start_that_cannot_be_makes_the_latency_unknown(start_s: float) -> None:
    async with open_room() as room:
        end = (NOW - 60_000_000) * 1000
        outcome = await send(room, make_span(1, start_time_unix_nano=end + int(start_s * 1e9)))
        assert outcome.taken == 1
        (call,) = await room.calls()
        assert call.latency_ms is None


async def test_text_that_is_not_utf8_costs_its_span_alone() -> None:
    async with open_room() as room:
        body = make_request(make_span(1), make_span(2, name="MARKER"), make_span(3)).SerializeToString()
        outcome = await export(room.intake, Signal.TRACES, body.replace(b"MARKER", b"\xff\xfe\xfd\xfc\xfb\xfa"), PROTO)
        assert (outcome.taken, outcome.refused) == (2, 1)
        assert "UTF-8" in outcome.message
        assert [call.span_id and call.span_id[-1] for call in await room.calls()] == ["1", "3"]


PROTO = Media.PROTOBUF


@pytest.mark.parametrize("cut", [1, 10, 40])
async def test_a_body_that_is_cut_off_is_refused_whole(cut: int) -> None:
    async with open_room() as room:
        body = make_request(make_span(1), make_span(2)).SerializeToString()
        with pytest.raises(InvalidArgument, match="cut off"):
            await export(room.intake, Signal.TRACES, body[:-cut], PROTO)
        assert await room.log() == []


def as_json(request: Any) -> dict[str, Any]:
    """OTLP's JSON: protobuf's, with ids in hexadecimal."""
    made = MessageToDict(request)
    for group, raw in zip(made["resourceSpans"], request.resource_spans, strict=True):
        for span, told in zip(group["scopeSpans"][0]["spans"], raw.scope_spans[0].spans, strict=True):
            span["traceId"], span["spanId"] = told.trace_id.hex(), told.span_id.hex()
            span["links"] = [{"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()} for link in told.links]
    return made


async def test_json_says_the_same_as_protobuf() -> None:
    request = make_request(make_span(1), make_span(2, {**CALL, "tags": ["a", "b"], "flag": True, "share": 0.5}))
    async with open_room() as first, open_room() as second:
        await export(first.intake, Signal.TRACES, request.SerializeToString(), PROTO)
        outcome = await export(second.intake, Signal.TRACES, json.dumps(as_json(request)).encode(), Media.JSON)
        assert outcome.taken == 2
        assert await first.calls() == await second.calls()


async def test_a_bad_span_in_json_costs_itself_alone() -> None:
    async with open_room() as room:
        made = as_json(make_request(make_span(1), make_span(2), make_span(3), make_span(4)))
        spans = made["resourceSpans"][0]["scopeSpans"][0]["spans"]
        spans[1]["traceId"] = "not hexadecimal"
        spans[2]["startTimeUnixNano"] = {"no": "number"}
        spans[3]["aFieldOfALaterVersion"] = {"x": [1]}
        outcome = await export(room.intake, Signal.TRACES, json.dumps(made).encode(), Media.JSON)
        assert (outcome.taken, outcome.refused) == (2, 2)
        assert "traceId is not hexadecimal" in outcome.message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"resourceSpans": 3}', b'{"resourceSpans": [3]}', b"\xff", b"[" * 5_000]
)
async def test_a_body_that_is_no_export_is_refused_whole(body: bytes) -> None:
    async with open_room() as room:
        with pytest.raises(InvalidArgument):
            await export(room.intake, Signal.TRACES, body, Media.JSON)


async def test_contents_are_dropped_unless_asked_for() -> None:
    secret = {**CALL, "gen_ai.input.messages": "the secret prompt"}
    async with open_room() as room, open_room(rules=Rules(keep_content=lambda: True)) as keeping:
        for each in (room, keeping):
            await send(each, make_span(1, secret))
        (dropped,), (kept,) = await room.calls(), await keeping.calls()
        assert "secret" not in str(dropped)
        assert kept.attributes["gen_ai.input.messages"] == "the secret prompt"


async def test_nothing_is_acknowledged_while_storage_is_away_and_a_retry_counts_once() -> None:
    away = True

    async def fail(moment: str) -> None:
        if moment == "before_append" and away:
            raise StorageUnavailable("the disk is full")

    async with open_room(faults=fail) as room:
        spans = [make_span(i) for i in range(1, 2_501)]  # more than one append
        with pytest.raises(StorageUnavailable):
            await send(room, *spans)
        away = False
        assert (await send(room, *spans)).taken == 2_500
        assert (await send(room, *spans)).duplicates == 2_500


async def test_too_much_at_once_is_shed_with_a_hint() -> None:
    async with open_room() as room:
        large = make_span(1, {**CALL, "x": "y" * (2 << 20)})
        with room.intake.reading(63 << 20), pytest.raises(ResourceExhausted) as shed:
            await send(room, large)
        assert shed.value.retry_after_s > 0
        assert (await send(room, make_span(1))).taken == 1


values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=10) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from([*CALL, "gen_ai.system", "openinference.span.kind", "metadata", "annotations.0.annotation.name"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(keys | st.text(max_size=8), values, max_size=8),
            st.binary(max_size=20),
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_no_span_breaks_the_intake(spans: list[tuple[dict[str, Any], bytes, int, int]], json_too: bool) -> None:
    async def main() -> None:
        made = [
            make_span(i + 1, {**CALL, **attributes}, trace_id=trace, start_time_unix_nano=start, end_time_unix_nano=end)
            for i, (attributes, trace, start, end) in enumerate(spans)
        ]
        request = make_request(make_span(100), *made)
        async with open_room() as room:
            outcome = await export(room.intake, Signal.TRACES, request.SerializeToString(), PROTO)
            assert outcome.refused + outcome.ignored <= len(spans)
            assert len(await room.calls()) >= 1
        if json_too:
            async with open_room() as room:
                body = json.dumps(as_json(request)).encode()
                assert (await export(room.intake, Signal.TRACES, body, Media.JSON)).taken >= 1

    trio.run(main)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_damage_breaks_the_intake(data: st.DataObject) -> None:
    body = bytearray(make_request(*(make_span(i) for i in range(1, 4))).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))

    async def main() -> None:
        async with open_room() as room:
            for each in (bytes(body), bytes(body[:cut])):
                try:
                    outcome = await export(room.intake, Signal.TRACES, each, PROTO)
                except InvalidArgument:
                    continue
                assert outcome.taken <= 3

    trio.run(main)
