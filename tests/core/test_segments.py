"""The segment's text: canonical, unambiguous, bounded, and the same for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.segments import ALL, MAX_BYTES, OTHER, admit, bounded, segment_of
from optimizer.model import Objective, Scalar, Service, Variant

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


def service(*names: str) -> Service:
    return Service(
        name="s",
        objective=Objective(goal="minimize_cost"),
        variants=(Variant(name="a"),),
        baseline="a",
        segment_by=names,
    )


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ({"category": "math", "tier": 1}, "category=math&tier=!1"),
        ({"category": "math", "tier": 1.0}, "category=math&tier=!1"),
        ({"category": "math", "tier": "1"}, "category=math&tier=1"),
        ({"category": "math", "tier": True, "x": 5}, "category=math&tier=!true"),
        ({"category": "", "tier": None}, "category=&tier=!"),
        ({}, "category=!&tier=!"),
        ({"category": "a&tier=b!%\n", "tier": 0.5}, "category=a%26tier%3Db%21%25%0A&tier=!0.5"),
        ({"category": "größe", "tier": -3}, "category=größe&tier=!-3"),
        ({"category": "x" * 200, "tier": 1}, "#e043cdcc01de6f1db9de3b6a04920e94"),
    ],
)
def test_text_never_changes(context: dict[str, Scalar], text: str) -> None:
    assert segment_of(service("category", "tier"), context) == text


def test_without_names_there_is_one_segment() -> None:
    assert segment_of(service(), {"category": "math"}) == ALL


@given(st.lists(st.tuples(scalars, scalars), min_size=2, max_size=2))
def test_different_values_are_different_segments(pairs: list[tuple[Scalar, Scalar]]) -> None:
    def normal(value: Scalar) -> object:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            return (int, int(value))
        return (type(value), value)

    texts = [segment_of(service("a", "b"), {"a": a, "b": b}) for a, b in pairs]
    same = [normal(x) for x in pairs[0]] == [normal(x) for x in pairs[1]]
    assert (texts[0] == texts[1]) is same


@given(st.dictionaries(st.sampled_from("ab"), st.one_of(scalars, st.text(st.characters(codec=None)))))
def test_text_is_bounded_and_encodable(context: dict[str, Scalar]) -> None:
    text = segment_of(service("a", "b"), context)
    assert len(text.encode()) <= MAX_BYTES
    assert bounded(text) == text


def test_huge_integer_is_a_segment_too() -> None:
    assert segment_of(service("a"), {"a": 10**5000}).startswith("#")


def test_beyond_the_limit_segments_share_one() -> None:
    known: set[str] = set()
    for i in range(10):
        known.add(admit(f"a={i}", known, 4))
    assert known == {"a=0", "a=1", "a=2", "a=3", OTHER}
    assert admit("a=2", known, 4) == "a=2"
    assert admit("a=9", known, 5) == "a=9"
