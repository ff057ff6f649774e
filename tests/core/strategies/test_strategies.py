"""The strategies: what they propose follows from the evidence, keeps the constraints, and says how sure it is."""

import random
from decimal import Decimal
from statistics import NormalDist

import msgspec
import pytest

from optimizer.core.learning import Evidence
from optimizer.core.sketch import QuantileSketch
from optimizer.core.strategies import CAUTION, Idea, Situation, StrategySettings, Thresholds, propose
from optimizer.core.strategies.knowledge import Belief, Knowledge
from optimizer.core.strategies.scoring import pareto_front
from optimizer.core.strategies.testing import allocate
from optimizer.model import Constraint, Objective, Service, Variant
from optimizer.model.optimizations import Strategy

SERVICE = Service(
    name="chat",
    objective=Objective(goal="minimize_cost"),
    variants=tuple(Variant(name=n, config={"model": n, "temperature": 0.4}) for n in "abc"),
    baseline="a",
)
SETTINGS = StrategySettings()
Cells = dict[tuple[str, str], Evidence]


def observed(truth: dict[str, tuple[float, float, float]], calls: int = 400, seed: int = 1, segment: str = "") -> Cells:
    """Evidence of calls whose variants have these mean qualities, costs and latencies."""
    rng, tick, cells = random.Random(seed), 0, Cells()
    for _ in range(calls):
        for name, (quality, cost, latency) in truth.items():
            tick += 1
            cells.setdefault((segment, name), Evidence()).observe(
                tick,
                quality=float(rng.random() < quality),
                cost=cost * rng.uniform(0.5, 1.5),
                latency=latency * rng.uniform(0.5, 1.5),
            )
    return cells


def ideas(
    cells: Cells,
    *strategies: Strategy,
    service: Service = SERVICE,
    settings: StrategySettings = SETTINGS,
    latency: dict[str, QuantileSketch] | None = None,
    tried: tuple[dict[str, object], ...] = (),
) -> list[Idea]:
    situation = Situation(service=service, evidence=cells, latency=latency or {}, tried=tried)
    return propose(situation, strategies, settings, random.Random(1))


CHEAPER = {"a": (0.9, 0.02, 100.0), "b": (0.9, 0.01, 90.0), "c": (0.3, 0.001, 50.0)}


def test_scoring_takes_the_cheaper_one_that_is_as_good_and_says_how_sure_it_is() -> None:
    found = ideas(observed(CHEAPER, 2000), "cost_performance_scoring")
    assert [idea.candidate for idea in found] == ["b"]
    (idea,) = found
    assert idea.confidence is not None
    assert idea.confidence > 0.99
    assert idea.impact.cost_reduction_pct == pytest.approx(50, abs=5)
    assert any("quality drops" in words for words in idea.checked)


def test_little_evidence_proposes_an_experiment_and_nothing_more() -> None:
    cells = observed({"a": (0.9, 0.02, 100.0)}) | observed({"b": (0.9, 0.01, 90.0)}, 20)
    found = ideas(cells, "hybrid")
    assert {idea.strategy for idea in found} == {"ab_testing", "adaptive_parameter_tuning"}
    assert found[0].strategy == "ab_testing"
    assert found[0].confidence is None, "what is not measured has no confidence"
    assert not ideas({}, "hybrid")


def test_the_confidence_is_the_share_of_right_proposals() -> None:
    """Equal variants in truth: better by at least min_confidence in at most about 1 - min_confidence of the worlds."""
    truth = {"a": (0.8, 0.02, 100.0), "b": (0.8, 0.02, 100.0)}
    service = msgspec.structs.replace(SERVICE, variants=SERVICE.variants[:2])
    caution = CAUTION["balanced"]
    wrong = 0
    for seed in range(120):
        known = Knowledge(service, observed(truth, 300, seed))
        utility = known.utility("b", SETTINGS.weights)
        assert utility is not None
        wrong += utility.above(0.0) >= caution.min_confidence
    # 10 % of 120 is 12; a binomial count exceeds 23 with probability below 0.001.
    assert wrong <= 23


def test_traffic_of_the_segments_is_no_merit_of_a_variant() -> None:
    """The policy sends b the cheap segment: its calls are cheap, and it is no cheaper than a anywhere."""
    cells = observed({"a": (0.9, 0.01, 100.0)}, 100, 1, "easy") | observed({"b": (0.9, 0.01, 100.0)}, 900, 2, "easy")
    cells |= observed({"a": (0.9, 0.10, 100.0)}, 900, 3, "hard") | observed({"b": (0.9, 0.10, 100.0)}, 100, 4, "hard")
    known = Knowledge(SERVICE, cells)
    change = known.combine("cost_usd", {"b": 1.0, "a": -1.0})
    usual = known.mean("cost_usd", "a")
    assert change is not None
    assert usual is not None
    assert abs(change.mean) < 0.1 * usual.mean


@pytest.mark.parametrize(
    ("constraint", "kept"),
    [
        (Constraint(metric="quality", min=0.8), True),
        (Constraint(metric="quality", min=0.95), False),
        (Constraint(metric="cost_usd", max_mean=Decimal("0.011")), True),
        (Constraint(metric="cost_usd", max_mean=Decimal("0.009")), False),
        (Constraint(metric="quality", min_ratio_to_best=0.9), True),
        (Constraint(metric="latency_ms", max_mean=Decimal(50)), False),
    ],
)
def test_a_constraint_of_the_service_is_kept(constraint: Constraint, kept: bool) -> None:
    objective = Objective(goal="minimize_cost", constraints=(constraint,))
    service = msgspec.structs.replace(SERVICE, objective=objective)
    found = ideas(observed(CHEAPER, 2000), "cost_performance_scoring", service=service)
    assert bool(found) is kept


def test_the_front_leaves_out_what_is_beaten_in_everything() -> None:
    truth = {"a": (0.9, 0.02, 100.0), "b": (0.95, 0.01, 50.0), "c": (0.5, 0.001, 200.0)}
    assert pareto_front(Knowledge(SERVICE, observed(truth)), 100) == ["b", "c"]


def test_the_learnt_policy_is_proposed_as_the_baseline() -> None:
    truth = {"a": (0.9, 0.02, 100.0), "b": (0.95, 0.002, 50.0), "c": (0.1, 0.05, 200.0)}
    found = ideas(observed(truth, 1000), "reinforcement_feedback")
    assert [idea.candidate for idea in found] == ["b"]


def test_a_broken_limit_goes_first() -> None:
    truth = {"a": (0.9, 0.2, 100.0), "b": (0.9, 0.05, 100.0), "c": (0.9, 0.09, 100.0)}
    found = ideas(observed(truth, 2000), "hybrid")
    assert found[0].strategy == "threshold_based"
    assert found[0].candidate == "b"
    assert "cost_usd at most 0.1" in found[0].rationale


def test_slow_tails_are_shown_by_counting() -> None:
    truth = {"a": (0.9, 0.02, 100.0), "b": (0.9, 0.02, 100.0)}
    latency = {
        "a": QuantileSketch.of([100.0] * 900 + [9_000.0] * 100),
        "b": QuantileSketch.of([100.0] * 990 + [9_000.0] * 10),
    }
    # Equal qualities of 2,000 calls each: a drop of 3 % cannot be excluded at every seed with the usual caution.
    settings = StrategySettings(caution=CAUTION["aggressive"])
    service = msgspec.structs.replace(SERVICE, variants=SERVICE.variants[:2])
    found = ideas(observed(truth, 2000), "threshold_based", service=service, settings=settings, latency=latency)
    assert [idea.candidate for idea in found] == ["b"]
    few = {name: QuantileSketch.of([9_000.0] * 3) for name in "ab"}
    assert not ideas(observed(truth, 2000), "threshold_based", service=service, settings=settings, latency=few)
    fine = StrategySettings(caution=CAUTION["aggressive"], thresholds=Thresholds(latency_p95_ms=10_000.0))
    assert not ideas(observed(truth, 2000), "threshold_based", service=service, settings=fine, latency=latency)


def test_tuning_steps_inside_its_bounds_and_never_twice() -> None:
    cells, tried = observed({"a": (0.9, 0.02, 100.0)}), list[dict[str, object]]()
    while found := ideas(cells, "adaptive_parameter_tuning", tried=tuple(tried)):
        config = found[0].config
        assert config not in tried
        temperature = config["temperature"]
        assert isinstance(temperature, float)
        assert 0.0 <= temperature <= 2.0
        tried.append(config)
    assert [each["temperature"] for each in tried] == [0.2, 0.6, 0.3, 0.5, 0.35, 0.45]
    plain = msgspec.structs.replace(SERVICE, variants=(Variant(name="a", config={"model": "a"}),))
    assert not ideas(cells, "adaptive_parameter_tuning", service=plain), "what is not set is not introduced"


@pytest.mark.parametrize("rule", ["fixed", "thompson_sampling", "epsilon_greedy"])
def test_shares_sum_to_one_and_follow_the_rule(rule: str) -> None:
    beliefs = [Belief(0.0, 0.0), Belief(0.1, 0.1), Belief(-0.2, 0.1)]
    shares = allocate(beliefs, rule, 0.3, random.Random(1))  # type: ignore[arg-type]  # the ids of the cases
    assert sum(shares) == pytest.approx(1.0)
    expected = {"fixed": 1 / 3, "thompson_sampling": NormalDist().cdf(1.0), "epsilon_greedy": 0.8}
    assert shares[1] == pytest.approx(expected[rule], abs=0.03)


def test_what_was_tried_is_not_proposed_again() -> None:
    cells = observed(CHEAPER, 2000)
    config = SERVICE.variants[1].config
    assert not ideas(cells, "cost_performance_scoring", "reinforcement_feedback", tried=(config,))
