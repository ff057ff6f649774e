"""What is believed about the variants of one service when each serves all of its traffic.

Means and variances come from the learning policy's posteriors (partially pooled over segments, decayed), weighted by
the segments' share of recent traffic: that the policy sends easy segments to cheap variants is no merit of theirs.
Probabilities are normal approximations of those posteriors. They are beliefs at the moment of asking, with no error
rate over many askings: what is proposed because of them is proven by the judge in its rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from optimizer.core.learning import Evidence
from optimizer.core.learning.objective import measure
from optimizer.core.learning.posterior import Estimate
from optimizer.core.learning.tables import Array, tabulate
from optimizer.model import Impact, Service, Variant
from optimizer.model.services import Metric

LEAST_KNOWN = 10.0
"""Known values of a metric (decayed) below which a variant's mean is not spoken of."""


@dataclass(frozen=True, slots=True)
class Belief:
    """A normal posterior."""

    mean: float
    sd: float

    def above(self, limit: float) -> float:
        """The probability of being above the limit."""
        if self.sd <= 0.0:
            return float(self.mean > limit)
        return 1.0 - NormalDist(self.mean, self.sd).cdf(limit)


class Knowledge:
    """The beliefs about one service. `p95_above` is not here: quantiles are read from the sketches."""

    def __init__(self, service: Service, evidence: Mapping[tuple[str, str], Evidence]) -> None:
        self.service = service
        self._tables = tabulate(service, evidence)
        self._metrics = measure(self._tables)

    @property
    def candidates(self) -> list[Variant]:
        """The variants that are not the baseline."""
        return [v for v in self.service.variants if v.name != self.service.baseline]

    def config(self, variant: str) -> dict[str, object]:
        """The configuration of a variant of the service."""
        return next(v.config for v in self.service.variants if v.name == variant)

    def calls(self, variant: str) -> int:
        """Calls of the variant ever counted."""
        return int(self._tables.events[:, self._column(variant)].sum())

    def mean(self, metric: Metric, variant: str) -> Belief | None:
        """The metric when the variant serves everybody; None when too little is known."""
        return self.combine(metric, {variant: 1.0})

    def combine(self, metric: Metric, weights: Mapping[str, float]) -> Belief | None:
        """The weighted sum of the variants' means; None when any of them is hardly known."""
        estimate = self._metrics.of(metric)
        if any(estimate.known[self._column(v)] < LEAST_KNOWN for v in weights):
            return None
        return self._belief(estimate, weights)

    def exceeded(self, number: int, variant: str) -> Belief | None:
        """How often the variant exceeds the bound of the service's quantile constraint of that number."""
        estimate = self._metrics.exceeded[number]
        if estimate.known[self._column(variant)] < LEAST_KNOWN:
            return None
        return self._belief(estimate, {variant: 1.0})

    def utility(self, candidate: str, weights: tuple[float, float, float]) -> Belief | None:
        """Weighted improvement over the baseline as a share of the baseline; metrics that are unknown on one side do
        not count. None when none is known.
        """
        base = self.service.baseline
        parts: list[tuple[float, Belief]] = []
        signs: tuple[tuple[Metric, float], ...] = (("quality", 1.0), ("cost_usd", -1.0), ("latency_ms", -1.0))
        for (metric, sign), weight in zip(signs, weights, strict=True):
            usual = self.mean(metric, base)
            change = self.combine(metric, {candidate: 1.0, base: -1.0})
            if usual is not None and change is not None and usual.mean > 0.0 and weight > 0.0:
                parts.append((weight, Belief(sign * change.mean / usual.mean, change.sd / usual.mean)))
        total = sum(weight for weight, _ in parts)
        if not total:
            return None
        mean = sum(weight * part.mean for weight, part in parts) / total
        return Belief(mean, sqrt(sum((weight * part.sd) ** 2 for weight, part in parts)) / total)

    def impact(self, candidate: str, confidence: float | None) -> Impact:
        """What to expect of the candidate, in percent of the baseline."""
        changes: dict[str, float | None] = {}
        metrics: tuple[Metric, ...] = ("quality", "cost_usd", "latency_ms")
        for metric in metrics:
            usual = self.mean(metric, self.service.baseline)
            change = self.combine(metric, {candidate: 1.0, self.service.baseline: -1.0})
            known = usual is not None and change is not None and usual.mean > 0.0
            changes[metric] = 100.0 * change.mean / usual.mean if known and usual and change else None
        cost = changes["cost_usd"]
        return Impact(
            cost_reduction_pct=None if cost is None else -cost,
            quality_delta_pct=changes["quality"],
            latency_delta_pct=changes["latency_ms"],
            confidence=confidence,
        )

    def _belief(self, estimate: Estimate, weights: Mapping[str, float]) -> Belief | None:
        share = self._tables.share
        if share.sum() <= 0.0:
            return None
        matrix: Array = np.zeros_like(estimate.mean)
        for variant, weight in weights.items():
            matrix[:, self._column(variant)] += weight * share
        return Belief(float((matrix * estimate.mean).sum()), sqrt(max(estimate.variance_of(matrix), 0.0)))

    def _column(self, variant: str) -> int:
        index = self.service.index(variant)
        if index is None:
            raise ValueError(f"{self.service.name!r} has no variant {variant!r}")
        return index
