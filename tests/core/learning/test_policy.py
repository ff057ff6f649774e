"""The learned policy: explicit positive probabilities, the same bytes for the same evidence, the floor kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.learning import Evidence, Rows, learn
from optimizer.core.learning.policy import PARTS
from optimizer.model import Constraint, InvalidArgument, Objective, Service, Variant

FLOOR = Constraint(metric="quality", min_ratio_to_best=0.95)


def service(count: int, *constraints: Constraint, **objective: object) -> Service:
    goal = objective.pop("goal", "minimize_cost")
    return Service(
        name="s",
        objective=Objective(goal=goal, constraints=constraints, **objective),  # type: ignore[arg-type]  # tests vary it
        variants=tuple(Variant(name=f"v{i}") for i in range(count)),
        baseline="v0",
    )


cell = st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 1), st.floats(0, 1e30), st.floats(0, 1e30))


def gather(cells: list[tuple[int, int, float, float, float]]) -> dict[tuple[str, str], Evidence]:
    evidence: dict[tuple[str, str], Evidence] = {}
    for tick, (segment, variant, quality, cost, latency) in enumerate(cells, 1):
        known = evidence.setdefault((f"a={segment}", f"v{variant}"), Evidence())
        known.observe(tick, quality=quality, cost=cost, latency=latency, error=tick % 7 == 0)
    return evidence


def check(rows: Rows) -> None:
    for row in (rows.default, *rows.rows.values()):
        assert abs(sum(row.probabilities) - 1.0) < 1e-12
        assert min(row.probabilities) > 0.0
        assert any(row.exploit)


@settings(deadline=None)
@given(st.lists(cell, max_size=80), st.randoms(use_true_random=False))
def test_probabilities_are_valid_and_the_order_does_not_matter(cells, random) -> None:  # type: ignore[no-untyped-def]
    evidence = gather(cells)
    for objective in (
        service(3, FLOOR),
        service(3, Constraint(metric="quality", min=0.8), goal="minimize_latency"),
        service(3, goal="maximize_quality"),
        service(3, FLOOR, goal="weighted", weights={"quality": 0.5, "cost": 0.3, "latency": 0.2}),
    ):
        rows = learn(objective, evidence)
        check(rows)
        assert set(rows.rows) == {segment for segment, _ in evidence}
        shuffled = list(evidence.items())
        random.shuffle(shuffled)
        assert learn(objective, dict(shuffled)) == rows


def test_without_evidence_the_baseline_is_safe_and_the_others_are_tried() -> None:
    rows = learn(service(4, FLOOR), {})
    check(rows)
    assert rows.rows == {}
    assert rows.default.probabilities[0] >= 0.7
    assert rows.default.exploit == (True, False, False, False)


def test_single_variant_gets_everything() -> None:
    rows = learn(service(1, FLOOR), gather([(0, 0, 0.5, 1.0, 1.0)]))
    assert rows.rows["a=0"].probabilities == rows.default.probabilities == (1.0,)


def test_removed_and_added_variants_are_taken_as_they_come() -> None:
    evidence = gather([(i % 3, i % 3, 1.0, 1.0, 1.0) for i in range(90)])
    fewer = Service(
        name="s",
        objective=Objective(goal="minimize_cost", constraints=(FLOOR,)),
        variants=(Variant(name="v2"), Variant(name="new"), Variant(name="v0")),
        baseline="v0",
    )
    rows = learn(fewer, evidence)
    check(rows)
    assert set(rows.rows) == {"a=0", "a=2"}
    assert not rows.default.exploit[1]


def test_stale_cells_are_named_and_the_evidence_is_not_touched() -> None:
    evidence = gather([(0, 0, 1.0, 1.0, 1.0)] * 1000 + [(0, 0, 0.0, 1.0, 1.0)] * 40)
    before = evidence["a=0", "v0"].state()
    rows = learn(service(3, FLOOR), evidence)
    assert rows.stale == (("a=0", "v0"),)
    assert evidence["a=0", "v0"].state() == before
    evidence["a=0", "v0"].forget()
    assert learn(service(3, FLOOR), evidence).stale == ()


def test_probabilities_are_whole_millionths() -> None:
    rows = learn(service(3, FLOOR), gather([(i % 4, i % 3, (i % 5) / 5, i % 3 + 1.0, 1.0) for i in range(200)]))
    for row in rows.rows.values():
        parts = [probability * PARTS for probability in row.probabilities]
        assert [round(part) for part in parts] == [round(part, 6) for part in parts]
        assert sum(round(part) for part in parts) == PARTS


def test_quantile_of_something_without_a_distribution_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="quantile"):
        learn(service(2, Constraint(metric="error_rate", quantile=0.9, max=0.1)), {})
