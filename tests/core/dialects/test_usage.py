"""The token rule on the cases that went wrong elsewhere, and on everything that is no count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.dialects import Usage, read_usage
from optimizer.core.dialects.usage import LARGEST, count

counts = st.none() | st.integers(0, 10**9)


def test_cached_tokens_inside_the_input() -> None:
    # Langfuse issue 17117: 300 in, of which 40 read and 25 written.
    usage = read_usage(300, 50, 40, 25)
    assert usage == Usage(300, 50, 40, 25, None, "reported")
    assert usage.fresh_tokens == 235


def test_cached_tokens_beside_the_input() -> None:
    # Langfuse issue 12306: raw Anthropic counts, once added up to 260,421.
    usage = read_usage(5, 700, 128_955, 1_253)
    assert usage == Usage(130_213, 700, 128_955, 1_253, None, "inferred")
    assert usage.fresh_tokens == 5


def test_small_caches_beside_the_input_are_told_by_the_total() -> None:
    assert read_usage(1_000, 50, 100, 0, None, 1_150) == Usage(1_100, 50, 100, 0, None, "inferred")
    assert read_usage(1_000, 50, 100, 0, None, 1_050) == Usage(1_000, 50, 100, 0, None, "reported")
    assert read_usage(1_000, 50, 100, 0, None, 9_999) == Usage(1_000, 50, 100, 0, None, "reported")


def test_reasoning_is_never_added_to_the_output() -> None:
    assert read_usage(10, 100, None, None, 60).output_tokens == 100
    strange = read_usage(10, 100, None, None, 160)
    assert (strange.output_tokens, strange.reasoning_tokens, strange.quality) == (100, 160, "inconsistent")


def test_the_input_from_the_total() -> None:
    assert read_usage(None, 50, None, None, None, 350) == Usage(300, 50, None, None, None, "inferred")
    assert read_usage(None, None, None, None, None, 350) == Usage(None, None, None, None, None, None)
    assert read_usage(None, 50, None, None, None, 10).input_tokens is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (LARGEST, LARGEST),
        (LARGEST + 1, None),
        (-1, None),
        (7.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        (True, None),
        ("", None),
        ("7.0", None),
        ("-7", None),
        ("٧", None),
        ("9" * 5000, None),
        (None, None),
        ([7], None),
        ({"value": 7}, None),
        (b"7", None),
    ],
)
def test_what_counts_as_a_count(value: object, expected: int | None) -> None:
    assert count(value) == expected


def test_a_count_that_is_none_is_said() -> None:
    assert read_usage(-5, 10) == Usage(None, 10, None, None, None, "inconsistent")
    assert read_usage() == Usage(None, None, None, None, None, None)
    assert read_usage(0, 0) == Usage(0, 0, None, None, None, "reported")


@given(counts, counts, counts, counts, counts, counts)
def test_fresh_tokens_are_never_negative(
    given_: int | None,
    output: int | None,
    read: int | None,
    write: int | None,
    reasoning: int | None,
    total: int | None,
) -> None:
    usage = read_usage(given_, output, read, write, reasoning, total)
    if usage.fresh_tokens is not None:
        assert usage.fresh_tokens >= 0
    assert usage.output_tokens == output
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (read, write)
    if usage.input_tokens is not None and given_ is not None:
        assert usage.input_tokens in {given_, given_ + (read or 0) + (write or 0)}


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_applying_the_rule_twice_changes_nothing(given_: int, output: int, read: int, write: int) -> None:
    once = read_usage(given_, output, read, write)
    twice = read_usage(once.input_tokens, once.output_tokens, once.cache_read_tokens, once.cache_write_tokens)
    assert twice[:4] == once[:4]
