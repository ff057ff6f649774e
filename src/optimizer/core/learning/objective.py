"""A service's objective in numbers: what each choice loses, and which sums over the traffic are bounded."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.core.learning import posterior
from optimizer.core.learning.evidence import DELIVERED_MEMORY
from optimizer.core.learning.posterior import Estimate
from optimizer.core.learning.tables import Array, Mask, Tables
from optimizer.model import Constraint, Objective, Service
from optimizer.model.services import Metric

_WEIGHTS: Final[dict[str, Metric]] = {
    "quality": "quality",
    "cost": "cost_usd",
    "cost_usd": "cost_usd",
    "latency": "latency_ms",
    "latency_ms": "latency_ms",
    "error_rate": "error_rate",
}
_MOST_ERRORS: Final = 0.98
SMALLEST: Final = 1e-30
PACE: Final = 2.0
"""How many times a debt is asked back on top of the target: it is repaid over half of the calls that made it."""
TRIALS: Final = {"quality": 10.0, "cost_usd": 3.0, "latency_ms": 3.0, "error_rate": 3.0}
"""Known values of a metric that a variant needs before the solution may rely on it; until then it is on trial."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`sum(share * p * gain) >= target`, or with a `ratio`: at least that part of what each of the `rivals` (by column)
    alone would have over all traffic, so the target is as uncertain as they are.

    `debt` is how much more is wanted for a while because less than the target was delivered lately. `stake` is what the
    choice is about, in units of the loss: how much lies between the variants that lose most and least.
    """

    constraint: Constraint
    gain: Estimate
    target: float = 0.0
    ratio: float = 0.0
    rivals: tuple[int, ...] = ()
    debt: float = 0.0
    stake: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """What to minimise (in multiples of `unit`) inside which bounds.

    `untried` variants (by column) lack evidence that the objective needs.

    `doubts` are the variances of differences between variants, of the loss first and then of each bound's gain.
    """

    share: Array
    loss: Estimate
    unit: float
    bounds: tuple[Bound, ...]
    doubts: tuple[Array, ...]
    untried: Mask
    baseline: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Posteriors of everything measured. A call that failed is tried again, so cost and latency are per success and
    quality is what arrives: times the rate of success."""

    quality: Estimate
    cost_usd: Estimate
    latency_ms: Estimate
    error_rate: Estimate
    exceeded: tuple[Estimate, ...]

    def of(self, metric: Metric) -> Estimate:
        """The estimate by the metric's public name."""
        match metric:
            case "quality":
                return self.quality
            case "cost_usd":
                return self.cost_usd
            case "latency_ms":
                return self.latency_ms
            case "error_rate":
                return self.error_rate


def measure(tables: Tables) -> Metrics:
    """Posteriors of all metrics; cells whose record went stale speak by their recent values only."""
    errors = posterior.rate(tables.outcomes)
    success = 1.0 - np.minimum(errors.mean, _MOST_ERRORS)
    return Metrics(
        quality=posterior.quality(tables.quality).scaled(success),
        cost_usd=posterior.amount(tables.cost).scaled(1.0 / success),
        latency_ms=posterior.amount(tables.latency).scaled(1.0 / success),
        error_rate=errors,
        exceeded=tuple(posterior.rate(sums) for sums in tables.exceeded),
    )


def pose(service: Service, tables: Tables, metrics: Metrics) -> Problem:
    """The service's objective over these posteriors."""
    objective = service.objective
    loss, needed = _loss(objective, metrics)
    needed |= {constraint.metric for constraint in objective.constraints}
    untried = np.zeros(len(service.variants), dtype=np.bool_)
    for metric in needed:
        untried |= metrics.of(metric).known < TRIALS[metric]
    bounds: list[Bound] = []
    quantiles = iter(metrics.exceeded)
    for constraint in objective.constraints:
        if constraint.quantile is not None and constraint.max is not None:
            bounds.append(Bound(constraint, next(quantiles).scaled(-1.0), constraint.quantile - 1.0))
        else:
            bounds += _linear(constraint, metrics.of(constraint.metric), tables, untried)
    # In units of the largest loss, so that the search does not depend on the currency.
    unit = max(float(np.abs(loss.mean).max(initial=0.0)), SMALLEST)
    loss = loss.scaled(1.0 / unit)
    bounds = [replace(bound, stake=_stake(loss, tables.share, untried)) for bound in bounds]
    doubts = (loss.differences(), *(bound.gain.differences() for bound in bounds))
    return Problem(tables.share, loss, unit, tuple(bounds), doubts, untried, service.index(service.baseline) or 0)


def _linear(constraint: Constraint, estimate: Estimate, tables: Tables, untried: Mask) -> list[Bound]:
    higher_is_better = constraint.metric == "quality"
    bounds: list[Bound] = []
    if constraint.min_ratio_to_best is not None:
        ratio = constraint.min_ratio_to_best
        # Of a metric that should be small, the mean may be at most the best variant's divided by the ratio.
        gain, ratio = (estimate, ratio) if higher_is_better else (estimate.scaled(-1.0), 1.0 / max(ratio, 1e-9))
        overall = ratio * (tables.share[:, None] * gain.mean).sum(axis=0)
        tried = [i for i, unknown in enumerate(untried.tolist()) if not unknown]
        if tried:
            debt = _debt(float(overall[tried].max()), tables) if higher_is_better else 0.0
            bounds.append(Bound(constraint, gain, ratio=ratio, rivals=tuple(tried), debt=debt))
    if constraint.min is not None:
        debt = _debt(constraint.min, tables) if higher_is_better else 0.0
        bounds.append(Bound(constraint, estimate, constraint.min, debt=debt))
    highest = constraint.max_mean if constraint.max_mean is not None else constraint.max
    if highest is not None:
        bounds.append(Bound(constraint, estimate.scaled(-1.0), -float(highest)))
    return bounds


def _stake(loss: Estimate, share: Array, untried: Mask) -> float:
    """The difference between the tried variants that lose most and least over all traffic."""
    losses = (share[:, None] * loss.mean).sum(axis=0)[~untried]
    return float(np.ptp(losses)) if losses.size else 0.0


def _debt(floor: float, tables: Tables) -> float:
    """What the quality delivered lately is short of its floor: paid back by as much more over the next calls."""
    count, mean = tables.delivered
    return PACE * max(0.0, floor - mean) * count / (count + DELIVERED_MEMORY / 10.0)


def _loss(objective: Objective, metrics: Metrics) -> tuple[Estimate, set[Metric]]:
    match objective.goal:
        case "minimize_cost":
            return metrics.cost_usd, {"cost_usd"}
        case "minimize_latency":
            return metrics.latency_ms, {"latency_ms"}
        case "maximize_quality":
            return metrics.quality.scaled(-1.0), {"quality"}
        case "weighted":
            return _weighted(objective, metrics)


def _weighted(objective: Objective, metrics: Metrics) -> tuple[Estimate, set[Metric]]:
    """Weighted sum of badness; amounts count relative to the most expensive (slowest) variant for unseen segments."""
    mean = np.zeros_like(metrics.quality.mean)
    own, noise = np.zeros_like(mean), np.zeros_like(mean)
    needed: set[Metric] = set()
    for name, weight in sorted(objective.weights.items()):
        metric = _WEIGHTS.get(name)
        if metric is None or weight == 0.0:
            continue
        estimate = metrics.of(metric)
        sign = -1.0 if metric == "quality" else 1.0
        unit = 1.0 if metric in ("quality", "error_rate") else float(estimate.mean[-1].max())
        factor = sign * weight / unit if unit > SMALLEST else 0.0
        mean = mean + factor * estimate.mean
        own = own + (factor * estimate.sd) ** 2
        noise = noise + factor**2 * estimate.noise
        needed.add(metric)
    return posterior.independent(mean, own, np.zeros(mean.shape[1]), noise), needed
