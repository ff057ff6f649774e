"""The draw: the probabilities said are the probabilities done, and the same key stays where it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.assignment import choose, marginal, unit_of
from optimizer.model import Policy, Row


def policy(*probabilities: float, holdout: float = 0.0, mode: str = "learn") -> Policy:
    row = Row(probabilities, tuple(p >= 0.2 for p in probabilities))
    names = tuple(f"v{i}" for i in range(len(probabilities)))
    return Policy(
        service="s", version=3, cursor=0, seed=0, created_at=0, variants=names, baseline=0, default=row,
        rows={"a": row}, holdout=holdout, mode=mode,
    )  # fmt: skip


def test_unit_never_changes() -> None:
    assert unit_of("service-1", "user-1") == 0.34148099547698885
    assert unit_of("ab", "c") != unit_of("a", "bc")


@pytest.mark.parametrize("holdout", [0.0, 0.1])
def test_sticky_shares_equal_the_probabilities(holdout: float) -> None:
    """Chi-square over 20,000 keys: below the 99.9 % quantile of 3 degrees of freedom (16.3)."""
    table = policy(0.6, 0.3, 0.07, 0.03, holdout=holdout)
    counts = [0] * 4
    for i in range(20_000):
        counts[choose(table, "a", unit_of("salt", f"user-{i}"))[0]] += 1
    expected = [20_000 * marginal(table, table.default, v) for v in range(4)]
    assert sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True)) < 16.3


def test_reasons_and_marginal_probability_with_a_holdout() -> None:
    table = policy(0.5, 0.4, 0.1, holdout=0.2)
    drawn = [choose(table, "a", unit) for unit in (0.1999, 0.2001, 0.7, 0.999999)]
    assert [variant for variant, _, _ in drawn] == [0, 0, 1, 2]
    assert [probability for _, probability, _ in drawn] == pytest.approx([0.6, 0.6, 0.32, 0.08])
    assert [reason for _, _, reason in drawn] == ["holdout", "exploit", "exploit", "explore"]
    assert choose(policy(0.5, 0.5, mode="fixed"), "a", 0.9) == (0, 1.0, "fixed")
    assert choose(policy(0.5, 0.5, holdout=1.0), "a", math.nextafter(1.0, 0.0)) == (0, 1.0, "holdout")


def test_impossible_variant_is_never_chosen() -> None:
    table = policy(0.0, 1.0 - 1e-9, 0.0)
    assert {choose(table, "a", unit)[0] for unit in (0.0, 0.5, math.nextafter(1.0, 0.0))} == {1}


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=6).filter(any),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_any_policy_and_unit_give_a_possible_choice(weights: list[int], holdout: float, unit: float) -> None:
    table = policy(*(w / sum(weights) for w in weights), holdout=holdout)
    variant, probability, _ = choose(table, "a", unit)
    assert 0.0 < probability <= 1.0
    assert probability == marginal(table, table.default, variant)
    total = sum(marginal(table, table.default, v) for v in range(len(weights)))
    assert total == pytest.approx(1.0)


def test_a_key_moves_only_when_a_boundary_passes_it() -> None:
    before, after = policy(0.5, 0.5), policy(0.6, 0.4)
    units = [unit_of("salt", f"user-{i}") for i in range(2000)]
    moved = [u for u in units if choose(before, "a", u)[0] != choose(after, "a", u)[0]]
    assert moved
    assert all(0.5 <= u < 0.6 for u in moved)
