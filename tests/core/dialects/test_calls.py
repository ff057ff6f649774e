"""Spans of each dialect become the call that they describe, once, with its tokens and cost right."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core import records
from optimizer.core.dialects import Bounds, Span, SpanEvent, load_aliases, read_call
from optimizer.core.dialects.aliases import read_aliases
from optimizer.core.pricing import Prices
from optimizer.model import FeedbackEvent

NOW = 1_793_000_000_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

OTEL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.conversation.id": "c-1",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.usage.input_tokens": 300,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.cache_write.input_tokens": 25,
    "gen_ai.usage.reasoning.output_tokens": 20,
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.response.finish_reasons": ["stop", "length"],
    "gen_ai.input.messages": "secret prompt",
    "gen_ai.output.messages": "secret answer",
    "gen_ai.prompt.name": "greeting",
    "gen_ai.prompt.version": "3",
    "openai.response.service_tier": "default",
}
OTEL_OLD = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 300,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.cache_creation.input_tokens": 25,
    "gen_ai.openai.response.service_tier": "default",
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o",
    "llm.response.model_name": "gpt-4o-2024-08-06",
    "session.id": "c-1",
    "llm.token_count.prompt": 300,
    "llm.token_count.completion": 50,
    "llm.token_count.total": 350,
    "llm.token_count.prompt_details.cache_read": 40,
    "llm.token_count.prompt_details.cache_write": 25,
    "llm.token_count.completion_details.reasoning": 20,
    "llm.cost.total": 0.1,
    "input.value": "secret prompt",
    "output.value": "secret answer",
    "llm.input_messages.0.message.content": "secret prompt",
    "llm.output_messages.0.message.content": "secret answer",
    "metadata": '{"category": "math", "depth": 2, "nested": {"a": 1}}',
}
OPENLLMETRY = {
    "llm.request.type": "chat",
    "gen_ai.provider.name": "az.ai.openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 300,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.total_tokens": 350,
    "gen_ai.usage.cache_read_input_tokens": 40,
    "gen_ai.usage.cache_creation_input_tokens": 25,
    "gen_ai.usage.reasoning_tokens": 20,
    "gen_ai.is_streaming": False,
    "gen_ai.prompt.0.content": "secret prompt",
    "gen_ai.completion.0.content": "secret answer",
    "traceloop.workflow.name": "answer",
    "traceloop.association.properties.session_id": "c-1",
    "traceloop.association.properties.category": "math",
}
ANTHROPIC_RAW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 5,
    "gen_ai.usage.output_tokens": 700,
    "gen_ai.usage.cache_read_input_tokens": 128_955,
    "gen_ai.usage.cache_creation_input_tokens": 1_253,
}


def span(attributes: dict[str, Any], **fields: Any) -> Span:
    return Span(
        trace_id=TRACE,
        span_id=SPAN,
        start=NOW - 1_500_000,
        end=NOW,
        attributes=attributes,
        **({"resource": {"service.name": "chat-app"}} | fields),
    )


def call(attributes: dict[str, Any], **fields: Any) -> FeedbackEvent:
    event = read_call(span(attributes, **fields), received_at=NOW + 5)
    assert event is not None
    return event


@pytest.mark.parametrize(
    ("attributes", "dialect"),
    [(OTEL, "otel"), (OTEL_OLD, "otel-old"), (OPENINFERENCE, "openinference"), (OPENLLMETRY, "openllmetry")],
)
def test_every_dialect_says_the_same(attributes: dict[str, Any], dialect: str) -> None:
    event = call(attributes)
    assert event.dialect == dialect
    assert event.usage_quality == "reported"
    assert (event.input_tokens, event.output_tokens) == (300, 50)
    assert (event.cache_read_tokens, event.cache_write_tokens) == (40, 25)
    assert event.reasoning_tokens == (None if dialect == "otel-old" else 20)
    assert (event.model, event.response_model) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert event.provider == ("azure.ai.openai" if dialect == "openllmetry" else "openai")
    assert event.event_id == f"span:{TRACE}-{SPAN}"
    assert event.span_id == f"{TRACE}-{SPAN}"
    assert (event.service, event.occurred_at, event.received_at, event.latency_ms) == ("chat-app", NOW, NOW + 5, 1500.0)
    assert event.conversation_id == (None if dialect == "otel-old" else "c-1")
    assert event.error_type is None
    assert "secret" not in repr(event)


def test_what_only_one_dialect_says() -> None:
    event = call(OTEL)
    assert (event.response_id, event.ttft_ms) == ("chatcmpl-1", 250.0)
    assert event.attributes["service_tier"] == "default"
    assert event.attributes["gen_ai.response.finish_reasons"] == "stop,length"
    assert event.attributes["gen_ai.prompt.version"] == "3"
    assert event.attributes["gen_ai.usage.cache_read.input_tokens"] == 40
    assert (call(OPENINFERENCE).cost_usd, call(OPENINFERENCE).cost_source) == (Decimal("0.1"), "reported")
    assert call(OPENINFERENCE).context == {"category": "math", "depth": 2}
    assert call(OPENLLMETRY).context == {"session_id": "c-1", "category": "math"}


def test_raw_anthropic_counts_are_priced_once() -> None:
    event = call(ANTHROPIC_RAW)
    assert (event.input_tokens, event.usage_quality) == (130_213, "inferred")
    priced = Prices().price_event(event)
    assert priced is not None
    # 5 fresh at 3, 128,955 read at 0.30, 1,253 written at 3.75, 700 out at 15 dollars per million.
    assert priced.cost == (5 * 3 + 128_955 * Decimal("0.3") + 1_253 * Decimal("3.75") + 700 * 15).scaleb(-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "POST"},
        {**OTEL, "gen_ai.operation.name": "invoke_agent"},
        {**OTEL, "gen_ai.operation.name": "execute_tool"},
        {**OTEL, "gen_ai.operation.name": "invoke_workflow"},
        {**OTEL, "gen_ai.operation.name": "retrieval"},
        {**OTEL, "gen_ai.operation.name": "something_new"},
        {**OPENINFERENCE, "openinference.span.kind": "CHAIN"},
        {**OPENINFERENCE, "openinference.span.kind": "AGENT"},
        {**OPENINFERENCE, "openinference.span.kind": "EVALUATOR"},
        {**OPENLLMETRY, "traceloop.span.kind": "workflow"},
        {**OPENLLMETRY, "traceloop.span.kind": "agent"},
        {"gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 5},
        {"metadata": "{}", "session.id": "x"},
        {"gen_ai.request.model": ""},
    ],
)
def test_what_is_around_calls_is_no_call(attributes: dict[str, Any]) -> None:
    assert read_call(span(attributes), received_at=NOW) is None


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content", "embeddings", "CHAT"])
def test_operations_that_are_calls(operation: str) -> None:
    assert call({**OTEL, "gen_ai.operation.name": operation}).model == "gpt-4o"


def test_the_canonical_name_goes_first() -> None:
    event = call({"gen_ai.usage.prompt_tokens": 999, **OTEL, "llm.usage.prompt_tokens": 998})
    assert event.input_tokens == 300
    assert call({**OTEL, "gen_ai.usage.input_tokens": None, "gen_ai.usage.prompt_tokens": 999}).input_tokens == 999


def test_the_service_can_be_named() -> None:
    resource = {"service.name": "app", "llm_optimizer.service": "from-resource"}
    assert call(OTEL, resource=resource).service == "from-resource"
    ours = {"llm_optimizer.service": "s", "llm_optimizer.variant": "a", "llm_optimizer.assignment_id": "as",
            "llm_optimizer.request_id": "r", "llm_optimizer.context.category": "math"}  # fmt: skip
    event = call({**OTEL, **ours}, resource=resource)
    assert (event.service, event.variant, event.assignment_id, event.request_id) == ("s", "a", "as", "r")
    assert event.context == {"category": "math"}
    assert not any(name.startswith("llm_optimizer") for name in event.attributes)
    assert call(OTEL, resource={}).service == ""


def test_errors() -> None:
    assert call({**OTEL, "error.type": "429"}, failed=True).error_type == "429"
    assert call(OTEL, failed=True).error_type == "_OTHER"
    raised = SpanEvent(
        name="exception", time=NOW, attributes={"exception.type": "TimeoutError", "exception.message": "x"}
    )
    assert call(OTEL, failed=True, events=[raised]).error_type == "TimeoutError"
    assert call(OTEL, events=[raised]).error_type is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"llm.cost.total": 0.1}, Decimal("0.1")),
        ({"llm.cost.total": "0.0000001"}, Decimal("0.0000001")),
        ({"llm.cost.total": 0}, Decimal(0)),
        ({"gen_ai.usage.cost.amount": 2, "llm.cost.total": 3}, Decimal(2)),
        ({"gen_ai.usage.cost.amount": 2, "gen_ai.usage.cost.currency": "usd"}, Decimal(2)),
        ({"gen_ai.usage.cost.amount": 2, "gen_ai.usage.cost.currency": "EUR"}, None),
        ({"llm.cost.total": -1}, None),
        ({"llm.cost.total": float("nan")}, None),
        ({"llm.cost.total": float("inf")}, None),
        ({"llm.cost.total": 1e9}, None),
        ({"llm.cost.total": True}, None),
        ({"llm.cost.total": "cheap"}, None),
        ({"llm.cost.total": [1]}, None),
    ],
)
def test_reported_costs(attributes: dict[str, Any], expected: Decimal | None) -> None:
    event = call({**OTEL, **attributes})
    assert event.cost_usd == expected
    assert event.cost_source == (None if expected is None else "reported")


def test_content_is_kept_only_when_asked_for() -> None:
    for attributes in (OTEL, OPENINFERENCE, OPENLLMETRY):
        kept = read_call(span(attributes), received_at=NOW, keep_content=True)
        assert kept is not None
        assert "secret prompt" in kept.attributes.values()
        assert "secret answer" in kept.attributes.values()


def test_attributes_are_bounded_and_usage_is_kept_first() -> None:
    many = {f"custom.{number}": "x" * 5000 for number in range(10_000)}
    event = read_call(span({**many, **OTEL}), received_at=NOW, bounds=Bounds(attributes=10, text=100))
    assert event is not None
    assert len(event.attributes) == 10
    assert event.attributes["gen_ai.usage.input_tokens"] == 300
    assert max(len(str(value)) for value in event.attributes.values()) == 100


@pytest.mark.parametrize(
    ("start", "end", "latency"),
    [(NOW, NOW, 0.0), (NOW + 1, NOW, None), (0, NOW, NOW / 1000), (-5, NOW, (NOW + 5) / 1000)],
)
def test_clocks_that_run_backwards_give_no_latency(start: int, end: int, latency: float | None) -> None:
    odd = Span(trace_id=TRACE, span_id=SPAN, start=start, end=end, attributes=OTEL)
    event = read_call(odd, received_at=NOW)
    assert event is not None
    assert event.latency_ms == latency


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53, 2**53),
        (2**63, str(2**63)),
        (10**400, None),
        (float("nan"), None),
        ("a\ud800b", "a?b"),
        ("é", "é"),
        (["a", 1, True], "a,1,True"),
        ([["a"]], None),
        ([float("nan")], None),
        (list(range(100)), None),
        ({"a": 1}, None),
        (b"x", None),
    ],
)
def test_what_an_event_can_carry(value: object, expected: object) -> None:
    event = call({**OTEL, "custom": value, "metadata": '{"big": 1' + "0" * 400 + ', "odd\\ud800": "\\ud800"}'})
    assert event.attributes.get("custom", "left out") == ("left out" if expected is None else expected)
    assert event.context == {"odd?": "?"}
    assert records.decode_feedback(records.encode(event)) == event


names = st.sampled_from(sorted(load_aliases().fields)) | st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(names, values, max_size=30), st.booleans())
def test_no_attributes_can_break_it(attributes: dict[str, Any], failed: bool) -> None:
    event = read_call(span({**OTEL, **attributes}, failed=failed), received_at=NOW)
    if event is not None:
        assert records.decode_feedback(records.encode(event)) == event
        for number in (event.input_tokens, event.output_tokens, event.cache_read_tokens, event.reasoning_tokens):
            assert number is None or number >= 0
        assert all(isinstance(value, (str, int, float, bool)) for value in event.attributes.values())
        assert all(isinstance(value, (str, int, float, bool)) for value in event.context.values())


def test_one_attribute_has_one_meaning() -> None:
    with pytest.raises(ValueError, match=r"a\.b stands for x and y"):
        read_aliases('[fields]\nx = ["a.b"]\ny = ["a.b"]\n')
