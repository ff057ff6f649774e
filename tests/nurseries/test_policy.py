"""Backoff and grace as declared values."""

import random

from hypothesis import given
from hypothesis import strategies as st

from optimizer.nurseries import Backoff, Grace, Stage


@given(
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 1000),
    jitter=st.floats(0, 1),
    crashes=st.integers(-5, 10_000),
    seed=st.integers(),
)
def test_delay_is_bounded_by_the_ceiling(base: float, cap: float, jitter: float, crashes: int, seed: int) -> None:
    backoff = Backoff(base_s=base, cap_s=cap, jitter=jitter)
    ceiling = backoff.ceiling(crashes)
    assert ceiling <= cap
    assert ceiling * (1 - jitter) <= backoff.delay(crashes, random.Random(seed)) <= ceiling


@given(crashes=st.integers(1, 100))
def test_ceiling_doubles_up_to_the_cap(crashes: int) -> None:
    backoff = Backoff(base_s=1, cap_s=60)
    assert backoff.ceiling(crashes + 1) == min(60.0, 2 * backoff.ceiling(crashes))


def test_full_jitter_spreads_over_the_whole_range() -> None:
    """Mean of a uniform draw from [0, 8] over 4,000 draws: standard error 0.037, so 4 +- 0.2 is beyond 5 of them."""
    rng, backoff = random.Random(11), Backoff(jitter=1.0)
    delays = [backoff.delay(4, rng) for _ in range(4000)]
    assert abs(sum(delays) / len(delays) - 4) < 0.2
    assert min(delays) < 0.1
    assert max(delays) > 7.9


def test_stages_end_one_after_the_other() -> None:
    grace = Grace()
    shares = [grace.share(stage) for stage in (Stage.EDGE, Stage.WORKER, Stage.STORE, Stage.ROOT)]
    assert shares == [10, 18, 20, 25]
    assert grace.hard_s == 30
