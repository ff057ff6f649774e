"""The constrained choice: shares per segment that minimise the expected loss while every bound holds with confidence.

    minimise   sum_s share_s sum_v p_sv loss_sv
    subject to sum_s share_s sum_v p_sv gain_sv >= ratio * best + least      for every bound

For given multipliers the program falls apart into one choice per segment (Lagrangian relaxation), so one bound is
solved exactly by bisection of its multiplier, several by taking them in turn (the dual is concave). The choices are
softened to posterior probabilities of being the best one (Thompson, Biometrika 25, 1933, made explicit), and each
bound is asked to hold at `CONFIDENCE` standard deviations of its own posterior, a margin that evidence makes smaller.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.posterior import Estimate
from optimizer.core.learning.tables import Array, Mask

CONFIDENCE: Final = 1.3
"""Standard deviations: the floor is kept with a posterior probability of 90 %."""
TEMPER: Final = 0.7
_STEPS: Final = 18
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Slack:
    """How far a bound is from being violated, under some shares: `value - target - margin >= 0` is wanted."""

    value: float
    target: float
    sd: float
    weights: Array

    @property
    def room(self) -> float:
        """What is left after the margin; negative when the bound is not kept with confidence."""
        return self.value - self.target - CONFIDENCE * self.sd


@dataclass(frozen=True, slots=True)
class Solution:
    """`shares` (segments + 1, variants) with exploration, `multipliers` (loss per unit of gain) and slack per bound."""

    shares: Array
    multipliers: Array
    slacks: tuple[Slack, ...]


def solve(problem: Problem, explore: Array, eligible: Mask) -> Solution:
    """Shares that give every variant at least `explore` and the rest to the eligible ones as the program says.

    `explore` is (segments + 1, variants) with row sums below 1. Infeasible bounds are violated as little as possible.
    """
    lam = np.zeros(len(problem.bounds))
    scales = [_scale(problem, bound, eligible) for bound in problem.bounds]
    for _ in range(_ROUNDS if len(lam) > 1 else 1):
        for j in range(len(lam)):
            lam[j] = 0.0
            lam[j] = _bisect(problem, explore, eligible, lam, j, scales[j])
    shares = mixed(problem, explore, eligible, lam)
    return Solution(shares, lam, tuple(slack(problem, bound, shares) for bound in problem.bounds))


def mixed(problem: Problem, explore: Array, eligible: Mask, lam: Array) -> Array:
    """Exploration plus, in the rest, the probability of each eligible variant to be its segment's best choice."""
    shares: Array = explore + (1.0 - explore.sum(axis=1, keepdims=True)) * wanted(problem, eligible, lam)
    return shares


def lagrangian(problem: Problem, lam: Array) -> Array:
    """The loss minus the priced gains of every cell: the smallest in its line is the exploiting choice."""
    total = problem.loss.mean
    for j, bound in enumerate(problem.bounds):
        if lam[j] > 0.0:
            total = total - lam[j] * bound.gain.mean
    return total


def wanted(problem: Problem, eligible: Mask, lam: Array) -> Array:
    """Per segment, each eligible variant's probability to beat the leader (the leader's: to beat its best rival)."""
    total = np.where(eligible, lagrangian(problem, lam), np.inf)
    lines = np.arange(len(total))
    leader = total.argmin(axis=1)
    gap = total - total[lines, leader][:, None]
    variance: Array = _against(problem.loss, lines, leader)
    for j, bound in enumerate(problem.bounds):
        if lam[j] > 0.0:
            variance = variance + lam[j] ** 2 * _against(bound.gain, lines, leader)
    beats: Array = _normal_tail(gap / (TEMPER * np.sqrt(variance) + 1e-300))
    beats[lines, leader] = 0.0
    beats[lines, leader] = 1.0 - beats.max(axis=1)
    beats /= beats.sum(axis=1, keepdims=True)
    return beats


def slack(problem: Problem, bound: Bound, shares: Array) -> Slack:
    """Where the bound stands under the shares; `weights` are the derivatives of value minus target by each cell."""
    weights = problem.share[:, None] * shares
    value = float((weights * bound.gain.mean).sum())
    target = bound.least
    if bound.ratio > 0.0:
        overall = (problem.share[:, None] * bound.gain.mean).sum(axis=0)
        best = int(overall.argmax())
        target += bound.ratio * float(overall[best])
        weights[:, best] -= bound.ratio * problem.share
    return Slack(value, target, float(np.sqrt(bound.gain.variance_of(weights))), weights)


def _bisect(problem: Problem, explore: Array, eligible: Mask, lam: Array, j: int, scale: float) -> float:
    """The smallest multiplier at which bound `j` holds, the others given; the largest tried when none does."""

    def room(value: float) -> float:
        trial = lam.copy()
        trial[j] = value
        return slack(problem, problem.bounds[j], mixed(problem, explore, eligible, trial)).room

    if room(0.0) >= 0.0:
        return 0.0
    low, high = np.log(scale * 1e-4), np.log(scale * 1e4)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if room(float(np.exp(middle))) >= 0.0:
            high = middle
        else:
            low = middle
    return float(np.exp(high))


def _scale(problem: Problem, bound: Bound, eligible: Mask) -> float:
    """The ratio of the ranges of loss and gain: a multiplier of this size makes both matter alike."""
    loss, gain = (np.ptp(table[:, eligible]) for table in (problem.loss.mean, bound.gain.mean))
    return float(max(loss, 1e-12) / max(gain, 1e-6))


def _against(estimate: Estimate, lines: npt.NDArray[np.intp], leader: npt.NDArray[np.intp]) -> Array:
    """The variance of each cell's difference to its line's leader."""
    own = estimate.own + estimate.loading**2 * estimate.variant
    apart = estimate.loading - estimate.loading[lines, leader][:, None]
    return own + own[lines, leader][:, None] + apart**2 * estimate.segment[:, None]


def _normal_tail(x: Array) -> Array:
    """P(Z > x) of the standard normal for x >= 0, to 2e-4, without scipy (Bowling et al., JIEM 2009)."""
    x = np.minimum(x, 8.0)
    return 1.0 / (1.0 + np.exp(x * (1.5976 + 0.07056 * x * x)))
