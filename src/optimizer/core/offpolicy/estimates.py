"""What another policy would have earned on logged traffic: IPS, SNIPS and doubly robust estimates with their overlap.

* IPS (Horvitz & Thompson 1952): mean of w * r with w = target / logged probability. Unbiased.
* SNIPS (Hajek; Swaminathan & Joachims 2015): weighted mean; a little biased, far steadier.
* Doubly robust (Dudik, Langford & Li 2011): a model's value plus the weighted residuals; unbiased when the logged
  probabilities are right. The model is the mean per segment and variant, shrunk to the variant's mean, and fitted on
  the other half of the log (cross-fitting), so that no row is predicted from itself.

Intervals are normal ones from the empirical influence values. They assume that rows are independent and that weights
are moderate: the effective sample size (Kish 1965) and the largest weight say whether that is so, and the gate asks
when it is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SHRINK = 5.0  # rows of its own that weigh as much as the variant's overall mean


@dataclass(frozen=True, slots=True)
class Log:
    """Logged choices in order: segment and variant index, probability with which it was chosen,
    reward (larger is better).
    """

    segment: Ints
    variant: Ints
    probability: Floats
    reward: Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard error and confidence interval."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Estimates of the target policy's mean reward, the logged mean, their difference, and how far they can be
    trusted.

    `effective` is the effective sample size, `unsupported` the share of the target's choices (over logged segments)
    that the log never made, `largest_weight` the largest importance weight.
    """

    rows: int
    ips: Estimate
    snips: Estimate
    dr: Estimate
    logged: Estimate
    gain: Estimate
    effective: float
    unsupported: float
    largest_weight: float


def read_log(rows: Sequence[tuple[int, int, float, float]]) -> Log:
    """A log from (segment, variant, probability, reward) rows. Raises ValueError for a probability outside (0, 1]."""
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    if table.size and (table[:, 2].min() <= 0.0 or table[:, 2].max() > 1.0):
        raise ValueError("logged probabilities are above 0 and at most 1")
    return Log(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])


def evaluate(log: Log, target: Floats, alpha: float = 0.05) -> Evaluation:
    """Evaluate a target policy, an array [segment, variant] of probabilities, on the log (at least two rows)."""
    n = len(log.reward)
    if n < 2:
        raise ValueError("at least two logged rows are needed")
    chosen = target[log.segment, log.variant]
    weight = chosen / log.probability
    reward = log.reward
    snips = float(weight @ reward / weight.sum()) if weight.sum() > 0.0 else math.nan
    q, v = _crossfit(log, target)
    robust = v + weight * (reward - q)
    return Evaluation(
        rows=n,
        ips=_estimate(weight * reward, alpha),
        snips=_estimate(snips + weight * (reward - snips) / max(weight.mean(), 1e-12), alpha),
        dr=_estimate(robust, alpha),
        logged=_estimate(reward, alpha),
        gain=_estimate(robust - reward, alpha),
        effective=float(weight.sum() ** 2 / (weight @ weight)) if weight.any() else 0.0,
        unsupported=_unsupported(log, target),
        largest_weight=float(weight.max()),
    )


def _estimate(values: Floats, alpha: float) -> Estimate:
    value = float(values.mean())
    error = float(values.std(ddof=1) / math.sqrt(len(values)))
    reach = NormalDist().inv_cdf(1.0 - alpha / 2.0) * error
    return Estimate(value, error, value - reach, value + reach)


def _crossfit(log: Log, target: Floats) -> tuple[Floats, Floats]:
    """Predicted reward of the logged choice, and of the target's choices, for each row,
    from the other half of the rows.
    """
    n = len(log.reward)
    half = np.arange(n) % 2 == 0
    q, v = np.empty(n), np.empty(n)
    for own in (half, ~half):
        table = _fit(log, ~own, target.shape)
        q[own] = table[log.segment[own], log.variant[own]]
        v[own] = (target * table).sum(axis=1)[log.segment[own]]
    return q, v


def _fit(log: Log, rows: NDArray[np.bool_], shape: tuple[int, ...]) -> Floats:
    """Mean reward per segment and variant, shrunk to the variant's mean, that to the overall mean."""
    sums, counts = np.zeros(shape), np.zeros(shape)
    where = (log.segment[rows], log.variant[rows])
    np.add.at(sums, where, log.reward[rows])
    np.add.at(counts, where, 1.0)
    overall = sums.sum() / max(counts.sum(), 1.0)
    by_variant = (sums.sum(axis=0) + SHRINK * overall) / (counts.sum(axis=0) + SHRINK)
    return np.asarray((sums + SHRINK * by_variant) / (counts + SHRINK), dtype=np.float64)


def _unsupported(log: Log, target: Floats) -> float:
    counts = np.zeros(target.shape)
    np.add.at(counts, (log.segment, log.variant), 1.0)
    share = counts.sum(axis=1) / counts.sum()
    return float((share * np.where(counts == 0.0, target, 0.0).sum(axis=1)).sum())
