"""What a service may be declared as. Both front doors ask here."""

import math

from optimizer.model import Constraint, InvalidArgument, Objective, Service, Variant

VARIANTS = 64  # the policy is computed over all of them at every step
SEGMENT_KEYS = 4
CONSTRAINTS = 16
LARGEST_HOLDOUT = 0.5
OBSERVED = "observed"
"""The one variant of a service that nobody declared and telemetry came from."""


def observed_service(name: str) -> Service:
    """The declaration of a service that is only watched: nothing is decided until its owner declares it."""
    variant = Variant(name=OBSERVED)
    return Service(
        name=name, objective=Objective(goal="minimize_cost"), variants=(variant,), baseline=OBSERVED, mode="fixed"
    )


def is_observed(service: Service) -> bool:
    """Whether nobody has declared the service yet."""
    return service == observed_service(service.name)


def check(service: Service) -> None:
    """Raise InvalidArgument naming the field when the declaration contradicts itself or breaks a bound."""
    names = [v.name for v in service.variants]
    if not 1 <= len(names) <= VARIANTS:
        raise InvalidArgument(f"needs 1 to {VARIANTS} variants, has {len(names)}", field="variants")
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InvalidArgument(f"variant {twice!r} is named twice", field="variants")
    if service.baseline not in names:
        raise InvalidArgument(f"{service.baseline!r} is not one of the variants {names}", field="baseline")
    if len(service.segment_by) > SEGMENT_KEYS or len(set(service.segment_by)) != len(service.segment_by):
        raise InvalidArgument(f"takes up to {SEGMENT_KEYS} different context keys", field="segment_by")
    if not 0 <= service.holdout <= LARGEST_HOLDOUT:
        raise InvalidArgument(f"must lie in 0..{LARGEST_HOLDOUT}", field="holdout")
    if not 1 <= service.lease_s <= 7 * 86_400:
        raise InvalidArgument("must lie between a second and a week", field="lease_s")
    _check_objective(service.objective)


def _check_objective(objective: Objective) -> None:
    if objective.goal == "weighted":
        known = {"quality", "cost", "latency"}
        if not objective.weights or set(objective.weights) - known:
            raise InvalidArgument(f"goal weighted takes weights for {sorted(known)}", field="objective.weights")
        if any(not math.isfinite(w) or w < 0 for w in objective.weights.values()) or not sum(
            objective.weights.values()
        ):
            raise InvalidArgument("weights are at least 0 and not all 0", field="objective.weights")
    elif objective.weights:
        raise InvalidArgument(f"goal {objective.goal} takes no weights", field="objective.weights")
    if len(objective.constraints) > CONSTRAINTS:
        raise InvalidArgument(f"at most {CONSTRAINTS} constraints", field="objective.constraints")
    for i, constraint in enumerate(objective.constraints):
        problem = _problem(constraint)
        if problem:
            raise InvalidArgument(problem, field=f"objective.constraints.{i}")


def _problem(c: Constraint) -> str | None:
    """What is wrong with a constraint, None when nothing is."""
    bounds = [c.min_ratio_to_best, c.min, c.max_mean, c.max]
    if sum(b is not None for b in bounds) != 1:
        return "set exactly one of min_ratio_to_best, min, max_mean, max"
    if (c.quantile is None) != (c.max is None):
        return "quantile and max go together"
    if c.quantile is not None and (c.metric != "latency_ms" or not 0 < c.quantile < 1):
        return "quantile is for latency_ms and lies between 0 and 1"
    if c.max is not None and not (math.isfinite(c.max) and c.max > 0):
        return "max is a positive number"
    if c.min_ratio_to_best is not None and (c.metric != "quality" or not 0 < c.min_ratio_to_best <= 1):
        return "min_ratio_to_best is for quality and lies in 0..1"
    if c.min is not None and (c.metric != "quality" or not 0 <= c.min <= 1):
        return "min is for quality and lies in 0..1"
    if c.max_mean is not None and (c.metric == "quality" or not (c.max_mean.is_finite() and c.max_mean >= 0)):
        return "max_mean is for cost_usd, latency_ms and error_rate, and at least 0"
    return None
