"""The margin of a bound: as wide as it pays."""

import math

import pytest

from optimizer.core.learning.slack import FORFEIT, LEAST_SURE, SUREST, surety


def missed(margin: float, sd: float) -> float:
    return 0.5 * math.erfc(margin / sd / math.sqrt(2.0))


@pytest.mark.parametrize(("stake", "price", "sd"), [(1.0, 12.0, 0.012), (0.5, 4.0, 0.02), (0.8, 14.0, 0.01)])
def test_at_the_margin_one_step_more_or_less_loses_more(stake: float, price: float, sd: float) -> None:
    sure = float(surety(stake, price, sd))
    assert LEAST_SURE < sure < SUREST, "neither end cut it"

    def loses(z: float) -> float:
        return price * z * sd + FORFEIT * stake * missed(z * sd, sd)

    assert loses(sure) <= min(loses(sure - 0.05), loses(sure + 0.05))


def test_margin_is_wide_where_it_is_free_and_narrow_where_it_is_dear() -> None:
    margins = [float(surety(1.0, price, 0.012)) for price in (0.0, 1.0, 10.0, 15.0, 1e9)]
    assert margins[0] == SUREST
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] == LEAST_SURE


def test_nothing_at_stake_asks_for_the_least_margin() -> None:
    assert float(surety(0.0, 1.0, 0.01)) == LEAST_SURE
