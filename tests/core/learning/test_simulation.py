"""The policy in the world it is for: seeded simulated applications, learnt from as the server does."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from optimizer.core.assignment import choose
from optimizer.core.learning import Evidence, Rows, bounds_of, learn
from optimizer.model import Constraint, Objective, Policy, Service, Variant

FLOOR = Constraint(metric="quality", min_ratio_to_best=0.95)
Answer = tuple[float | None, float | None, float | None, bool]
"""Quality, cost, latency and failure of a call."""


@dataclass
class Application:
    """Calls an imaginary service whose answers come from `world(segment, variant, rng)`, and learns every 25 calls."""

    service: Service
    world: Callable[[str, int, random.Random], Answer]
    segments: tuple[str, ...]
    seed: int = 0
    evidence: dict[tuple[str, str], Evidence] = field(default_factory=dict)
    events: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.rows = learn(self.service, self.evidence)

    def run(self, calls: int) -> list[tuple[str, int, Answer]]:
        """Make calls and say what happened."""
        seen = []
        for _ in range(calls):
            segment = self.rng.choice(self.segments)
            variant, _, _ = choose(self._policy(self.rows), segment, self.rng.random())
            answer = self.world(segment, variant, self.rng)
            seen.append((segment, variant, answer))
            self.events += 1
            cell = (segment, self.service.variants[variant].name)
            known = self.evidence.setdefault(cell, Evidence(bounds_of(self.service)))
            quality, cost, latency, error = answer
            known.observe(self.events, quality=quality, cost=cost, latency=latency, error=error)
            if self.events % 25 == 0:
                self.rows = learn(self.service, self.evidence)
                for stale in self.rows.stale:
                    self.evidence[stale].forget()
        return seen

    def _policy(self, rows: Rows) -> Policy:
        names = tuple(variant.name for variant in self.service.variants)
        return Policy(
            service="s", version=1, cursor=0, seed=0, created_at=0, variants=names, baseline=0, default=rows.default,
            rows=rows.rows,
        )  # fmt: skip


def service(count: int, *constraints: Constraint, **objective: object) -> Service:
    goal = objective.pop("goal", "minimize_cost")
    return Service(
        name="s",
        objective=Objective(goal=goal, constraints=constraints, **objective),  # type: ignore[arg-type]  # tests vary it
        variants=tuple(Variant(name=f"v{i}") for i in range(count)),
        baseline="v0",
    )


def share(seen: list[tuple[str, int, Answer]], variant: int, segment: str | None = None) -> float:
    chosen = [v for s, v, _ in seen if segment in (None, s)]
    return chosen.count(variant) / len(chosen)


def skills(table: Mapping[str, tuple[float, ...]], prices: tuple[float, ...]) -> Callable[..., Answer]:
    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        right = float(rng.random() < table[segment][variant])
        return right, prices[variant] * rng.uniform(0.5, 1.5), 100.0, False

    return world


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cheap_where_it_is_good_enough_and_the_floor_holds(seed: int) -> None:
    table = {"easy": (0.95, 0.94, 0.2), "hard": (0.85, 0.3, 0.1)}
    app = Application(service(3, FLOOR), skills(table, (10.0, 1.0, 0.5)), ("easy", "hard"), seed)
    app.run(2000)
    late = app.run(1500)
    quality = sum(answer[0] or 0.0 for _, _, answer in late) / len(late)
    assert quality >= 0.95 * 0.90 - 0.01, "the floor, less one standard error of 1,500 answers"
    assert share(late, 1, "easy") > 0.9
    assert share(late, 0, "hard") > 0.8
    assert share(late, 2) < 0.03, "what is useless gets little, whatever it costs"
    assert app.rows.bounds[0].holds


def test_no_more_quality_is_bought_where_it_became_dear() -> None:
    """Up to variant 1 quality is nearly free, beyond it each point costs a hundred times as much."""
    table = {"a": (0.89, 0.86, 0.80)}
    floor, dear, delivered = 0.95 * 0.89, [], []
    for seed in (13, 14, 15, 16):
        app = Application(service(3, FLOOR), skills(table, (10.0, 1.0, 0.9)), ("a",), seed)
        app.run(2500)
        late = app.run(1500)
        dear.append(share(late, 0))
        delivered.append(sum(table["a"][variant] for _, variant, _ in late) / len(late))
    assert sum(dear) / 4 < 0.2, "the floor needs none of it; what is spent here is for knowing the floor"
    assert sum(delivered) / 4 >= floor, "a cheap margin is taken: expected quality, free of luck"
    assert min(delivered) >= floor - 0.01


def test_quality_first_finds_the_best_in_each_segment() -> None:
    table = {"a": (0.6, 0.9), "b": (0.9, 0.6)}
    app = Application(service(2, goal="maximize_quality"), skills(table, (1.0, 1.0)), ("a", "b"), 4)
    app.run(1000)
    late = app.run(500)
    assert share(late, 1, "a") > 0.95
    assert share(late, 0, "b") > 0.95


def test_variant_that_degrades_on_day_ten_is_left() -> None:
    table = {"a": (0.95, 0.94), "b": (0.9, 0.9)}
    app = Application(service(2, FLOOR), skills(table, (10.0, 1.0)), ("a", "b"), 5)
    assert share(app.run(6000)[-1000:], 1) > 0.9
    table |= {"a": (0.95, 0.6), "b": (0.9, 0.55)}
    app.run(400)
    assert share(app.run(500), 1) < 0.2


def test_price_change_is_followed() -> None:
    prices = [10.0, 1.0]

    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        del segment
        return float(rng.random() < 0.9), prices[variant], 100.0, False

    app = Application(service(2, FLOOR), world, ("a",), 6)
    assert share(app.run(3000)[-1000:], 1) > 0.8
    prices[1] = 30.0
    app.run(1500)
    assert share(app.run(500), 0) > 0.8


def test_variant_of_unknown_cost_is_tried_but_never_relied_upon() -> None:
    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        del segment
        return float(rng.random() < 0.9), (None if variant == 1 else 1.0), 100.0, False

    app = Application(service(2, FLOOR), world, ("a",), 7)
    assert 0.02 < share(app.run(500), 1) < 0.12
    assert share(app.run(6000)[-1000:], 1) < 0.01, "more of the same would not tell its price"
    assert app.rows.rows["a"].exploit == (True, False)


def test_new_segment_starts_from_the_global_record() -> None:
    table = {"a": (0.95, 0.95), "b": (0.9, 0.9), "c": (0.92, 0.91)}
    app = Application(service(2, FLOOR), skills(table, (10.0, 1.0)), ("a", "b", "c"), 8)
    app.run(2000)
    assert app.rows.default.probabilities[1] > 0.7


def test_latency_quantile_is_kept() -> None:
    """The cheap variant is slow in one call of ten, the bound allows one in twenty: at most half may go there."""

    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        del segment
        slow = variant == 1 and rng.random() < 0.1
        return 1.0, (10.0, 1.0)[variant], 5000.0 if slow else 500.0, False

    bound = Constraint(metric="latency_ms", quantile=0.95, max=3000.0)
    app = Application(service(2, bound), world, ("a",), 9)
    app.run(3000)
    late = app.run(2000)
    assert sum((answer[2] or 0.0) > 3000 for _, _, answer in late) / len(late) <= 0.05
    assert 0.2 < share(late, 1) < 0.55


def test_budget_is_kept_by_a_mixture() -> None:
    table = {"a": (0.9, 0.5)}
    bound = Constraint(metric="cost_usd", max_mean=None, max=5.0)
    app = Application(service(2, bound, goal="maximize_quality"), skills(table, (10.0, 1.0)), ("a",), 10)
    app.run(1000)
    late = app.run(1000)
    assert sum(answer[1] or 0.0 for _, _, answer in late) / len(late) < 5.1
    assert share(late, 0) > 0.3


def test_failing_provider_is_left_although_it_is_cheap_and_fast() -> None:
    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        del segment
        if variant == 1 and rng.random() < 0.87:
            return None, None, 20.0, True
        return 1.0, (1.0, 0.9)[variant], (800.0, 700.0)[variant], False

    for goal in ("minimize_cost", "minimize_latency"):
        app = Application(service(2, goal=goal), world, ("a",), 11)
        app.run(500)
        assert share(app.run(500), 0) > 0.9, goal


def test_two_bounds_hold_together() -> None:
    """Variant 1 is cheap and slow, 2 is cheap and poor, 0 dear, fast and good: only mixtures with enough of 0 pass."""
    table = {"a": (0.95, 0.93, 0.5)}

    def world(segment: str, variant: int, rng: random.Random) -> Answer:
        right = float(rng.random() < table[segment][variant])
        return right, (10.0, 1.0, 0.5)[variant], (300.0, 2000.0, 300.0)[variant] * rng.uniform(0.8, 1.2), False

    bounds = (Constraint(metric="quality", min=0.8), Constraint(metric="latency_ms", max=1000.0))
    app = Application(service(3, *bounds), world, ("a",), 12)
    app.run(1500)
    late = app.run(1500)
    assert sum(table["a"][variant] for _, variant, _ in late) / len(late) >= 0.79, "the expected quality, free of luck"
    assert sum(answer[2] or 0.0 for _, _, answer in late) / len(late) <= 1030
    assert sum(answer[1] or 0.0 for _, _, answer in late) / len(late) < 7.5
