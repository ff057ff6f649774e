"""The arithmetic: exact, tiered, cache-aware, and silent about what it does not know."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.pricing import Rate, Rates, Tokens, cost_of

D = Decimal
PLAIN = Rates(input=Rate(D("2.5")), output=Rate(D(10)), cache_read=Rate(D("1.25")), cache_write=Rate(D("3.125")))
count = st.integers(0, 10**9)


def test_a_call_by_hand() -> None:
    # 300 in, of which 40 read and 25 written, 50 out: 235*2.5 + 40*1.25 + 25*3.125 + 50*10, per million.
    assert cost_of(Tokens(300, 50, 40, 25), PLAIN) == D("0.001215625")


def test_reported_without_the_cached_tokens() -> None:
    # As Anthropic does: 5 fresh, 128,955 read, 1,253 written.
    expected = (5 * D("2.5") + 128_955 * D("1.25") + 1_253 * D("3.125")).scaleb(-6)
    assert cost_of(Tokens(5, 0, 128_955, 1_253), PLAIN) == expected


@pytest.mark.parametrize(
    ("tokens", "rates"),
    [
        (Tokens(), PLAIN),
        (Tokens(input=10), PLAIN),
        (Tokens(output=10), PLAIN),
        (Tokens(-1, 10), PLAIN),
        (Tokens(10, -1), PLAIN),
        (Tokens(10, 10, -1), PLAIN),
        (Tokens(10, 10, 0, -1), PLAIN),
        (Tokens(10, 10, reasoning=-1), PLAIN),
        (Tokens(10, 10), Rates()),
        (Tokens(10, 10), Rates(input=Rate(D(1)))),
        (Tokens(10, 10), Rates(output=Rate(D(1)))),
        (Tokens(0, 0), Rates(request=D(1))),
    ],
)
def test_what_is_not_known_is_none(tokens: Tokens, rates: Rates) -> None:
    assert cost_of(tokens, rates) is None


@pytest.mark.parametrize(
    ("tokens", "rates", "expected"),
    [
        (Tokens(10), Rates(input=Rate(D(1))), D("0.00001")),
        (Tokens(10, 0), Rates(input=Rate(D(1))), D("0.00001")),
        (Tokens(0, 0), PLAIN, D(0)),
        (Tokens(10, 10), Rates(input=Rate(D(0)), output=Rate(D(0))), D(0)),
        (Tokens(10, 10, 5), Rates(input=Rate(D(1)), output=Rate(D(1))), D("0.00002")),
        (Tokens(10, 10, reasoning=4), Rates(input=Rate(D(0)), output=Rate(D(1)), reasoning=Rate(D(3))), D("0.000018")),
        (Tokens(10, 10, reasoning=99), Rates(input=Rate(D(0)), output=Rate(D(1)), reasoning=Rate(D(3))), D("0.00003")),
        (Tokens(10, 10, reasoning=4), PLAIN, D("0.000125")),
        (Tokens(10, 10), Rates(input=Rate(D(0)), output=Rate(D(0)), request=D("0.005")), D("0.005")),
    ],
)
def test_edges(tokens: Tokens, rates: Rates, expected: Decimal) -> None:
    assert cost_of(tokens, rates) == expected


@pytest.mark.parametrize(
    ("number", "price"), [(0, 1), (200_000, 1), (200_001, 2), (400_000, 2), (400_001, 4), (10**9, 4)]
)
def test_the_highest_tier_that_is_exceeded_holds_for_all(number: int, price: int) -> None:
    rates = Rates(input=Rate(D(1), ((200_000, D(2)), (400_000, D(4)))), output=Rate(D(0)))
    assert cost_of(Tokens(number, 0), rates) == (D(price) * number).scaleb(-6)


def test_output_tiers_go_by_the_input() -> None:
    rates = Rates(input=Rate(D(0)), output=Rate(D(1), ((100, D(5)),)))
    assert cost_of(Tokens(100, 1_000_000), rates) == D(1)
    assert cost_of(Tokens(101, 1_000_000), rates) == D(5)
    assert cost_of(Tokens(1, 1_000_000, 100), rates) == D(5)


@given(count, count, count, count)
def test_costs_are_exact_and_never_negative(number: int, output: int, read: int, write: int) -> None:
    cost = cost_of(Tokens(number, output, read, write), PLAIN)
    assert cost is not None
    fresh = number - read - write if read + write <= number else number
    scaled = fresh * 2_500_000 + read * 1_250_000 + write * 3_125_000 + output * 10_000_000
    assert cost * 10**12 == scaled
    assert cost >= 0


@given(count, count, st.integers(0, 10**9))
def test_more_output_never_costs_less(number: int, output: int, more: int) -> None:
    less, greater = cost_of(Tokens(number, output), PLAIN), cost_of(Tokens(number, output + more), PLAIN)
    assert less is not None
    assert greater is not None
    assert greater >= less
