"""Cost-performance scoring: the Pareto front of what is known, and on it the best weighted score."""

from optimizer.core.strategies.knowledge import Belief, Knowledge
from optimizer.core.strategies.safety import check_safety
from optimizer.core.strategies.values import Idea, StrategySettings
from optimizer.model.services import Metric

SIGNS: tuple[tuple[Metric, float], ...] = (("quality", 1.0), ("cost_usd", -1.0), ("latency_ms", -1.0))


def score(known: Knowledge, settings: StrategySettings) -> list[Idea]:
    """The best safe variants of the front that are probably better than the baseline, best first."""
    caution, found = settings.caution, list[tuple[float, Idea]]()
    for name in pareto_front(known, caution.min_calls):
        utility = None if name == known.service.baseline else known.utility(name, settings.weights)
        if utility is None or (confidence := utility.above(0.0)) < caution.min_confidence:
            continue
        safe, checked = check_safety(known, name, caution)
        if safe:
            found.append((utility.mean, _idea(known, name, utility, confidence, checked)))
    return [idea for _, idea in sorted(found, key=lambda each: (-each[0], each[1].candidate or ""))]


def pareto_front(known: Knowledge, min_calls: int) -> list[str]:
    """The variants with enough calls that no other one beats or equals in everything, in declaration order.

    Compared by what both are known for; a variant of which nothing is known is not on the front.
    """
    points: dict[str, dict[Metric, float]] = {}
    for variant in known.service.variants:
        if known.calls(variant.name) < min_calls:
            continue
        means = {metric: (known.mean(metric, variant.name), sign) for metric, sign in SIGNS}
        values = {metric: sign * belief.mean for metric, (belief, sign) in means.items() if belief is not None}
        if values:
            points[variant.name] = values
    return [name for name, own in points.items() if not any(_beats(other, own) for other in points.values())]


def _beats(other: dict[Metric, float], own: dict[Metric, float]) -> bool:
    shared = other.keys() & own.keys()
    if len(shared) < len(own):
        return False  # on what `other` is not known for, `own` may be better
    return all(other[m] >= own[m] for m in shared) and any(other[m] > own[m] for m in shared)


def _idea(known: Knowledge, name: str, utility: Belief, confidence: float, checked: tuple[str, ...]) -> Idea:
    base = known.service.baseline
    return Idea(
        strategy="cost_performance_scoring",
        service=known.service.name,
        candidate=name,
        config=known.config(name),
        rationale=(
            f"{name!r} is on the Pareto front and scores {utility.mean:+.1%} against {base!r} "
            f"(posterior standard deviation {utility.sd:.1%}; {known.calls(name)} against {known.calls(base)} calls)"
        ),
        impact=known.impact(name, confidence),
        gain=utility.mean,
        confidence=confidence,
        checked=checked,
    )
