"""Judgements in spans, events and late carriers become scores of the right call, once, on our scale."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.dialects import EVALUATION, Judgements, Range, Span, SpanEvent, read_evaluation, read_scores

NOW = 1_793_000_000_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALL = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}


def span(attributes: dict[str, Any] | None = None, **fields: Any) -> Span:
    return Span(trace_id=TRACE, span_id=SPAN, start=NOW - 1, end=NOW, attributes=attributes or {}, **fields)


def annotation(index: int = 0, kind: str = "annotation", scope: str = "", **fields: Any) -> dict[str, Any]:
    return {f"{scope}{kind}s.{index}.{kind}.{name}": value for name, value in fields.items()}


def evaluation(time: int = NOW, **fields: Any) -> SpanEvent:
    named = {
        f"gen_ai.evaluation.{name.replace('_', '.')}": value for name, value in fields.items() if name != "response"
    }
    if "response" in fields:
        named["gen_ai.response.id"] = fields["response"]
    return SpanEvent(name=EVALUATION, time=time, attributes=named)


def read(span_: Span, **ranges: Range) -> Judgements:
    return read_scores(span_, received_at=NOW + 1, ranges=ranges)


def test_an_evaluation_event_judges_its_span() -> None:
    (score,) = read(span(CALL, events=[evaluation(name="quality", score_value=0.75, response="r")])).scores
    assert (score.name, score.value, score.source) == ("quality", 0.75, "unknown")
    assert (score.span_id, score.response_id, score.occurred_at) == (f"{TRACE}-{SPAN}", "r", NOW)


def test_an_evaluation_can_come_without_a_span() -> None:
    event = evaluation(name="quality", score_value=1, response="r")
    (score,) = read_evaluation(event, trace_id="", span_id="", received_at=NOW).scores
    assert (score.span_id, score.response_id) == (None, "r")
    lost = read_evaluation(evaluation(name="quality", score_value=1), trace_id="", span_id="", received_at=NOW)
    assert lost == Judgements((), ("quality: says neither span nor response",))


def test_annotations_judge_their_span() -> None:
    attributes = CALL | annotation(name="quality", score=0.5, annotator_kind="HUMAN", identifier="alice")
    attributes |= annotation(1, name="correct", label="Correct", annotator_kind="LLM")
    attributes |= annotation(2, "evaluation", name="style", score=1, annotator_kind="CODE")
    found = read(span(attributes))
    assert [(s.name, s.value, s.source) for s in found.scores] == [
        ("quality", 0.5, "human"),
        ("correct", 1.0, "llm"),
        ("style", 1.0, "code"),
    ]
    assert {s.span_id for s in found.scores} == {f"{TRACE}-{SPAN}"}
    assert found.refused == ()


def test_late_feedback_judges_the_span_that_it_links() -> None:
    late = span(annotation(name="quality", score=1.0), links=[("ab" * 16, "cd" * 8)])
    (score,) = read(late).scores
    assert score.span_id == f"{'ab' * 16}-{'cd' * 8}"
    two = span(annotation(name="quality", score=1.0), links=[("ab" * 16, "cd" * 8), ("ef" * 16, "01" * 8)])
    assert read(two).scores[0].span_id == f"{TRACE}-{SPAN}"
    own = span(CALL | annotation(name="quality", score=1.0), links=[("ab" * 16, "cd" * 8)])
    assert read(own).scores[0].span_id == f"{TRACE}-{SPAN}"


@pytest.mark.parametrize("scope", ["trace", "session"])
def test_wider_scopes_are_not_spread_over_calls(scope: str) -> None:
    found = read(span(CALL | annotation(scope=f"{scope}.", name="quality", score=1.0)))
    assert found == Judgements((), (f"quality: of a whole {scope}, which is not spread over its calls",))


def test_the_same_judgement_twice_is_one() -> None:
    twice = (
        CALL | annotation(0, name="q", score=1.0, identifier="a") | annotation(1, name="q", score=0.0, identifier="a")
    )
    assert len(read(span(twice)).scores) == 1
    both = CALL | annotation(0, name="q", score=1.0) | annotation(0, "evaluation", name="q", score=1.0)
    assert len(read(span(both)).scores) == 1
    others = (
        CALL | annotation(0, name="q", score=1.0, identifier="a") | annotation(1, name="q", score=0.0, identifier="b")
    )
    assert len({score.score_id for score in read(span(others)).scores}) == 2
    direct = read(span(CALL | annotation(name="q", score=1.0))).scores[0]
    carrier = Span(
        trace_id="11" * 16,
        span_id="22" * 8,
        start=0,
        end=NOW,
        attributes=annotation(name="q", score=1.0),
        links=[(TRACE, SPAN)],
    )
    assert read(carrier).scores[0].score_id == direct.score_id


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"score": 4, "name": "stars"}, 0.75),
        ({"score": 1, "name": "stars"}, 0.0),
        ({"score": 0.2, "name": "toxicity"}, 0.8),
        ({"score": True, "name": "ok"}, 1.0),
        ({"score": 0, "name": "ok"}, 0.0),
        ({"label": "fail", "name": "ok"}, 0.0),
        ({"label": " Thumbs_Up ", "name": "ok"}, 1.0),
        ({"score": 0.5, "label": "fail", "name": "ok"}, 0.5),
    ],
)
def test_values_come_to_our_scale(fields: dict[str, Any], expected: float) -> None:
    ranges = {"stars": Range(low=1, high=5), "toxicity": Range(higher_is_better=False)}
    (score,) = read(span(CALL | annotation(**fields)), **ranges).scores
    assert score.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"score": 4, "name": "quality"}, "quality: 4 is outside 0 to 1"),
        ({"score": -0.1, "name": "quality"}, "quality: -0.1 is outside 0 to 1"),
        ({"score": float("nan"), "name": "quality"}, "quality: nan is outside 0 to 1"),
        ({"score": 10**5000, "name": "quality"}, "quality: a huge number is outside 0 to 1"),
        ({"score": "high", "name": "quality"}, "quality: neither a number nor a label that is understood"),
        ({"label": "meh", "name": "quality"}, "quality: neither a number nor a label that is understood"),
        ({"name": "quality"}, "quality: neither a number nor a label that is understood"),
        ({"score": 1}, "a judgement without a name"),
        ({"score": 1, "name": " "}, "a judgement without a name"),
        ({"score": 1, "name": 5}, "a judgement without a name"),
    ],
)
def test_what_has_no_value_is_refused_with_a_reason(fields: dict[str, Any], reason: str) -> None:
    assert read(span(CALL | annotation(**fields))) == Judgements((), (reason,))


def test_their_number_is_bounded() -> None:
    many: dict[str, Any] = {}
    for index in range(500):
        many |= annotation(index, name=f"n{index}", score=1.0)
    assert len(read(span(CALL | many)).scores) == 64


@given(
    st.dictionaries(
        st.from_regex(
            r"(trace\.|session\.)?(annotation|evaluation)s\.[0-9]{1,5}\.(annotation|evaluation)\.[a-z_]{1,10}",
            fullmatch=True,
        )
        | st.text(max_size=30),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=10)
        | st.lists(st.integers(), max_size=2),
        max_size=20,
    )
)
def test_no_attributes_can_break_it(attributes: dict[str, Any]) -> None:
    for score in read(span(attributes)).scores:
        assert 0.0 <= score.value <= 1.0
