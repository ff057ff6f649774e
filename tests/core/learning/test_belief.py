"""Beliefs: intervals that cover, unknown left out, borrowed strength said."""

import random

from optimizer.core.learning import Evidence, beliefs
from optimizer.model import Objective, Service, Variant

SERVICE = Service(
    name="s",
    objective=Objective(goal="minimize_cost"),
    variants=(Variant(name="a"), Variant(name="b")),
    baseline="a",
)


def test_quality_intervals_cover_the_truth() -> None:
    """95 % intervals over 60 seeded worlds of 6 segments: at least 88 % cover (normal approximation)."""
    covered = total = 0
    for seed in range(60):
        rng = random.Random(seed)
        truth = {f"s{i}": min(0.98, max(0.05, rng.gauss(0.75, 0.1))) for i in range(6)}
        evidence: dict[tuple[str, str], Evidence] = {}
        for tick in range(1, 301):
            segment = f"s{rng.randrange(6)}"
            known = evidence.setdefault((segment, "a"), Evidence())
            known.observe(tick, quality=float(rng.random() < truth[segment]), cost=1.0)
        for belief in beliefs(SERVICE, evidence):
            if belief.metric == "quality" and belief.segment is not None:
                total += 1
                covered += belief.low <= truth[belief.segment] <= belief.high
    assert total == 360
    assert covered / total >= 0.88


def test_unknown_is_left_out_and_borrowed_is_said() -> None:
    evidence = {("x", "a"): Evidence(), ("y", "b"): Evidence()}
    for tick in range(1, 41):
        evidence["x", "a"].observe(tick, quality=1.0)
        evidence["y", "b"].observe(tick, latency=float(tick))
    found = {(belief.segment, belief.variant, belief.metric): belief for belief in beliefs(SERVICE, evidence)}
    assert ("x", "b", "quality") not in found
    assert ("x", "a", "cost_usd") not in found
    assert found["x", "a", "quality"].effective > 39
    assert found["y", "a", "quality"].effective == 0.0
    assert found["y", "a", "quality"].mean > 0.8
    own, borrowed = found["x", "a", "quality"], found[None, "a", "quality"]
    assert borrowed.high - borrowed.low > own.high - own.low
