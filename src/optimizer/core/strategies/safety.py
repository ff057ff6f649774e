"""Whether a candidate may serve everybody: the service's constraints, and the quality that may be given up."""

from optimizer.core.strategies.knowledge import Knowledge
from optimizer.core.strategies.values import Caution
from optimizer.model import Constraint

Checked = tuple[bool, tuple[str, ...]]


def check_safety(known: Knowledge, candidate: str, caution: Caution) -> Checked:
    """Whether every constraint is kept with the caution's probability, and each check in words.

    What cannot be told because nobody measures the metric at all is said and passes; what is known of the baseline
    alone does not.
    """
    results = [_quality(known, candidate, caution)]
    quantile = 0
    for constraint in known.service.objective.constraints:
        results.append(_constraint(known, candidate, constraint, quantile, caution))
        quantile += constraint.quantile is not None
    return all(kept for kept, _ in results), tuple(words for _, words in results)


def _quality(known: Knowledge, candidate: str, caution: Caution) -> tuple[bool, str]:
    base = known.service.baseline
    if known.mean("quality", base) is None and known.mean("quality", candidate) is None:
        return True, "quality: nobody measures it"
    kept = known.combine("quality", {candidate: 1.0, base: -(1.0 - caution.max_quality_drop)})
    return _verdict(
        f"quality drops by at most {caution.max_quality_drop:.0%}", None if kept is None else kept.above(0.0), caution
    )


def _constraint(
    known: Knowledge, candidate: str, constraint: Constraint, quantile: int, caution: Caution
) -> tuple[bool, str]:
    metric = constraint.metric
    if constraint.quantile is not None:
        belief = known.exceeded(quantile, candidate)
        chance = None if belief is None else 1.0 - belief.above(1.0 - constraint.quantile)
        return _verdict(f"{metric} at {constraint.quantile:g} at most {constraint.max:g}", chance, caution)
    if constraint.min_ratio_to_best is not None:
        means = {v.name: m.mean for v in known.service.variants if (m := known.mean(metric, v.name)) is not None}
        best = max(means, key=lambda name: (means[name], name), default=candidate)
        if best == candidate:
            return _verdict(f"{metric} is the best", 1.0 if means else None, caution)
        ratio = constraint.min_ratio_to_best
        belief = known.combine(metric, {candidate: 1.0, best: -ratio})
        return _verdict(
            f"{metric} at least {ratio:g} of {best!r}", None if belief is None else belief.above(0.0), caution
        )
    belief = known.mean(metric, candidate)
    if constraint.min is not None:
        return _verdict(
            f"{metric} at least {constraint.min:g}", None if belief is None else belief.above(constraint.min), caution
        )
    limit = float(constraint.max_mean or 0)
    return _verdict(f"{metric} at most {limit:g}", None if belief is None else 1.0 - belief.above(limit), caution)


def _verdict(what: str, chance: float | None, caution: Caution) -> tuple[bool, str]:
    if chance is None:
        return False, f"{what}: too little is known"
    return chance >= caution.min_confidence, f"{what}: probability {chance:.3f}"
