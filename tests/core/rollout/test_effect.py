"""The measured impact compares the arms inside each stage, so that a trend is not taken for an effect."""

import random

import pytest

from optimizer.core.judge import Outcome
from optimizer.core.rollout import canary_stages, measured_impact
from optimizer.core.rollout.effect import Sums, add_outcome
from optimizer.model import InvalidArgument


def test_a_trend_between_the_stages_is_no_effect() -> None:
    """Everybody's cost doubles between the stages and the candidate does nothing: pooled arms would show +70 %."""
    rng, strata = random.Random(1), dict[str, Sums]()
    pooled = [[0.0, 0.0], [0.0, 0.0]]
    for share, level in ((0.05, 1.0), (0.5, 2.0)):
        for _ in range(4000):
            candidate = rng.random() < share
            cost = level * rng.uniform(0.9, 1.1)
            add_outcome(strata, Outcome(candidate=candidate, values={"cost_usd": cost}), share)
            pooled[candidate][0] += 1
            pooled[candidate][1] += cost
    naive = pooled[1][1] / pooled[1][0] / (pooled[0][1] / pooled[0][0])
    found = measured_impact(strata, 1, 2, 7)
    assert naive > 1.3
    assert found.cost_reduction_pct == pytest.approx(0.0, abs=1.0)
    assert (found.measured_from, found.measured_until, found.requests_affected) == (1, 2, 7)


def test_what_was_not_measured_on_both_sides_is_unknown() -> None:
    strata: dict[str, Sums] = {}
    add_outcome(strata, Outcome(candidate=True, values={"quality": 0.9, "latency_ms": 5.0}), 0.5)
    add_outcome(strata, Outcome(candidate=False, values={"latency_ms": 10.0}), 0.5)
    add_outcome(strata, Outcome(candidate=True, values={"quality": 0.9}), 1.0)
    found = measured_impact(strata, 0, 1, 2)
    assert (found.cost_reduction_pct, found.quality_delta_pct) == (None, None)
    assert found.latency_delta_pct == pytest.approx(-50)


@pytest.mark.parametrize(
    ("percentage", "stages"),
    [
        (0.0, (1, 5, 25, 50, 100)),
        (10.0, (10, 25, 50, 100)),
        (25.0, (25, 50, 100)),
        (100.0, (50, 100)),
    ],
)
def test_the_stages_of_a_canary(percentage: float, stages: tuple[float, ...]) -> None:
    assert canary_stages(percentage) == stages


@pytest.mark.parametrize("percentage", [-1.0, 100.5, float("nan")])
def test_a_canary_that_cannot_be(percentage: float) -> None:
    with pytest.raises(InvalidArgument):
        canary_stages(percentage)
