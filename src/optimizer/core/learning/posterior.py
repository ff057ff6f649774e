"""Posterior means and variances per (segment, variant), each cell borrowing from the others as far as they agree.

Quality follows the two-way hierarchical normal model (Gelman et al., Bayesian Data Analysis, 3rd ed., ch. 5 and 15)

    cell mean = variant + segment + deviation,   segment ~ N(0, t_a^2),   deviation ~ N(0, t_e^2)

with both spreads estimated from the data (empirical Bayes, a few EM steps): a new segment starts at the variant's
record, a hard segment lowers the expectation of variants not yet tried there, and a cell with evidence speaks for
itself. Costs and latencies follow the same idea multiplicatively, rates by a Beta prior at the variant's record.
"""

from dataclasses import dataclass

import numpy as np

from optimizer.core.learning.evidence import RECENT_DECAY
from optimizer.core.learning.tables import Array, Mask, Sums

_EM_STEPS = 6
_SPREAD = 0.1
"""Prior standard deviation of segment effects and deviations of a quality, worth `_SPREAD_CELLS` cells."""
_SPREAD_CELLS = 4.0
_UNKNOWN_SD = 0.25
"""Standard deviation of the quality of a variant that was never judged, around the mean of the others."""
_RATE_PSEUDO = 20.0
_MEAN_PSEUDO = 4.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric: `mean` and the parts of its posterior variance, (segments + 1, variants); `known` per variant.

    `noise` is the variance of one more observation.

    The variance of a cell is `own + loading**2 * (segment + variant)`: `own` is independent between cells, `segment`
    is shared by the variants of a segment and `variant` by the segments of a variant, each as far as the cell leans
    on them (`loading`, 1 without own evidence, falling to 0).
    """

    mean: Array
    own: Array
    loading: Array
    segment: Array
    variant: Array
    known: Array
    noise: Array

    @property
    def sd(self) -> Array:
        """The posterior standard deviation of each cell."""
        return np.sqrt(self.own + self.loading**2 * (self.segment[:, None] + self.variant))

    def variance_of(self, weights: Array) -> float:
        """The posterior variance of `sum(weights * metric)` over all cells."""
        leaning = weights * self.loading
        own = (weights**2 * self.own).sum()
        by_segment = (leaning.sum(axis=1) ** 2 * self.segment).sum()
        by_variant = (leaning.sum(axis=0) ** 2 * self.variant).sum()
        return float(own + by_segment + by_variant)

    def variances_against(self, weights: Array, share: Array) -> Array:
        """For each variant, the posterior variance of `sum(weights * metric) - sum(share * metric of the variant)`."""
        leaning = weights * self.loading
        alone = share[:, None] * self.loading
        own = (self.own * share[:, None] * (share[:, None] - 2.0 * weights)).sum(axis=0)
        segments = (self.segment[:, None] * alone * (alone - 2.0 * leaning.sum(axis=1)[:, None])).sum(axis=0)
        total = alone.sum(axis=0)
        variants = self.variant * total * (total - 2.0 * leaning.sum(axis=0))
        against: Array = np.maximum(self.variance_of(weights) + own + segments + variants, 0.0)
        return against

    def scaled(self, factor: float | Array) -> "Estimate":
        """The estimate of `factor` times the metric, the factor taken as known."""
        mean, own, loading = self.mean * factor, self.own * factor**2, self.loading * np.abs(factor)
        return Estimate(mean, own, loading, self.segment, self.variant, self.known, self.noise * factor**2)

    def differences(self) -> Array:
        """The posterior variance of the difference of any two variants: (segments + 1, variants, variants)."""
        own = self.own + self.loading**2 * self.variant
        apart = self.loading[:, :, None] - self.loading[:, None, :]
        pairs: Array = own[:, :, None] + own[:, None, :] + apart**2 * self.segment[:, None, None]
        return pairs


def quality(sums: Sums) -> Estimate:
    """Posterior of the mean of a quality in 0..1 in every cell; `sums` as tabulated."""
    n = sums.n
    seen = n > 0.0
    count = np.maximum(n, 1e-12)
    y = np.where(seen, sums.s / count, 0.0)
    known = n.sum(axis=0)
    overall = _middle(known, sums.s.sum(axis=0))
    single = _noise(sums, y, seen, overall)
    noise = single / count
    mu = (sums.s.sum(axis=0) + overall) / (known + 1.0)
    ta = te = _SPREAD**2
    prior = _UNKNOWN_SD**2
    for _ in range(_EM_STEPS):
        precision = np.where(seen, 1.0 / (te + noise), 0.0)
        va = 1.0 / (precision.sum(axis=1) + 1.0 / ta)
        a = (precision * (y - mu)).sum(axis=1) * va
        vm = 1.0 / (precision.sum(axis=0) + 1.0 / prior)
        mu = ((precision * (y - a[:, None])).sum(axis=0) + overall / prior) * vm
        trust = te * precision
        rest = y - mu - a[:, None]
        own = te * (1.0 - trust)
        deviations = np.where(seen, (trust * rest) ** 2 + own, 0.0).sum()
        te = float((deviations + _SPREAD_CELLS * _SPREAD**2) / (seen.sum() + _SPREAD_CELLS))
        here = seen.any(axis=1)
        effects = np.where(here, a * a + va, 0.0).sum()
        ta = float((effects + _SPREAD_CELLS * _SPREAD**2) / (here.sum() + _SPREAD_CELLS))
    mean = np.clip(mu + a[:, None] + trust * rest, 0.0, 1.0)
    return Estimate(mean, own, 1.0 - trust, va, vm, known, single)


def amount(sums: Sums) -> Estimate:
    """Posterior of the mean of a non-negative amount (cost, latency) in every cell, variants and segments as factors.

    A variant without any known value gets the largest mean of the others; whoever uses it asks `known` first.
    """
    n, s = sums.n, np.maximum(sums.s, 0.0)
    known = n.sum(axis=0)
    factor = np.ones(n.shape[0])
    for _ in range(3):
        expected = (n * factor[:, None]).sum(axis=0)
        per_variant = np.where(known > 0.0, s.sum(axis=0) / np.maximum(expected, 1e-12), 0.0)
        usual = max(float(per_variant.max(initial=0.0)), 1e-30)
        pseudo = 0.1 * usual
        base = (n * per_variant).sum(axis=1)
        factor = (s.sum(axis=1) + pseudo) / (base + pseudo)
    per_variant = np.where(known > 0.0, per_variant, per_variant.max(initial=0.0))
    prior = per_variant * factor[:, None]
    mean = (s + _MEAN_PSEUDO * prior) / (n + _MEAN_PSEUDO)
    squares = np.where(n > 0.0, s / np.maximum(n, 1e-12) * s, 0.0).sum(axis=0)
    within = (sums.ss.sum(axis=0) - squares).clip(min=0.0)
    # The squared coefficient of variation inside cells, drawn towards 1 where little is known.
    spread = np.clip((known * within + squares) / np.maximum((known + 1.0) * squares, 1e-300), 0.01, 10.0)
    noise = mean**2 * spread
    return independent(mean, noise / (n + _MEAN_PSEUDO), known, noise)


def rate(sums: Sums) -> Estimate:
    """Posterior of a probability (of an error, of exceeding a bound) in each cell: Beta around the variant's record."""
    known = sums.n.sum(axis=0)
    hits = sums.s.sum(axis=0)
    overall = (float(hits.sum()) + 0.05) / (float(known.sum()) + 1.0)
    per_variant = (hits + overall) / (known + 1.0)
    total = sums.n + _RATE_PSEUDO
    mean = np.clip((sums.s + _RATE_PSEUDO * per_variant) / total, 0.0, 1.0)
    noise = mean * (1.0 - mean)
    return independent(mean, noise / (total + 1.0), known, noise)


def independent(mean: Array, own: Array, known: Array, noise: Array) -> Estimate:
    """An estimate whose cells' errors have nothing to do with each other."""
    return Estimate(mean, own, np.zeros_like(mean), np.zeros(len(mean)), np.zeros(mean.shape[1]), known, noise)


def stale(sums: Sums, recent: tuple[Array, Array], threshold: float = 4.5) -> Mask:
    """Cells whose recent record contradicts the long one, alone or together with the variant's other segments.

    The statistic is the difference of the two means over its standard deviation; the recent mean of `k` values with
    weights that decay by `RECENT_DECAY` has the variance sum of squared weights over squared sum.
    """
    n, s = recent
    long = np.maximum(sums.n, 1e-12)
    usable = (n >= 5.0) & (sums.n > 2.0 * n)
    remembered = np.maximum(1.0 - n * (1.0 - RECENT_DECAY), 0.0)
    squares = (1.0 - remembered**2) / (1.0 - RECENT_DECAY**2)
    mean = sums.s / long
    spread = np.clip(sums.ss / long - mean**2, 0.01, None)
    drift = np.where(usable, s - n * mean, 0.0)
    variance = np.where(usable, squares * spread, 0.0)
    alone = np.abs(drift) > threshold * np.sqrt(variance)
    together = np.abs(drift.sum(axis=0)) > threshold * np.sqrt(variance.sum(axis=0))
    found: Mask = usable & (alone | (together & (drift * drift.sum(axis=0) > 0.0)))
    return found


def _middle(known: Array, totals: Array) -> float:
    """What to expect of a variant never judged: the mean of the others, each counting alike after a few values."""
    weight = known / (known + 10.0)
    means = totals / np.maximum(known, 1e-12)
    return float(((weight * means).sum() + 0.05 * 0.5) / (weight.sum() + 0.05))


def _noise(sums: Sums, y: Array, seen: Mask, overall: float) -> Array:
    """The variance of one observation in each cell, that of a 0/1 quality scaled to the spread that the values have."""
    bernoulli = np.where(seen, sums.s * (1.0 - y), 0.0).sum(axis=0)
    within = np.where(seen, sums.ss - sums.s * y, 0.0).sum(axis=0).clip(min=0.0)
    scale = np.clip((within + 0.25) / (bernoulli + 0.25), 0.02, 1.0)
    known = sums.n.sum(axis=0)
    per_variant = (sums.s.sum(axis=0) + 2.0 * overall) / (known + 2.0)
    likely = (sums.s + 2.0 * per_variant) / (sums.n + 2.0)
    return np.asarray(scale * np.clip(likely * (1.0 - likely), 0.01, 0.25))
