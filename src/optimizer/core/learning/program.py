"""The constrained choice: shares per segment that minimise the expected loss while every bound holds with confidence.

    minimise   sum_s share_s sum_v p_sv loss_sv
    subject to sum_s share_s sum_v p_sv gain_sv >= target                    for every bound

For given multipliers the program falls apart into one choice per segment (Lagrangian relaxation), so one bound is
solved exactly by bisection of its multiplier, several by taking them in turn (the dual is concave). The choices are
softened to posterior probabilities of being the best one (Thompson, Biometrika 25, 1933, made explicit), and each
bound is asked to hold at `CONFIDENCE` standard deviations of its own posterior, a margin that evidence makes smaller.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.tables import Array, Mask

CONFIDENCE: Final = 1.3
"""Standard deviations: the floor is kept with a posterior probability of 90 %."""
CALLS: Final = 2000.0
TEMPER: Final = 0.5
_ROUNDS: Final = 3
_DECADES: Final = 4.0
_COARSE: Final = 0.5
_FINE: Final = 0.05
"""Relative precision of a multiplier in a first and in a repeated search; the bound holds at the value taken."""


@dataclass(frozen=True, slots=True)
class Slack:
    """How far a bound is from being violated under some shares.

    `sd` is the standard deviation of `value - target` and `weights` are its derivatives by each cell.
    """

    value: float
    target: float
    sd: float
    debt: float
    weights: Array

    @property
    def room(self) -> float:
        """What is left after the margin; negative when the bound is not kept with confidence."""
        return self.value - self.target - self.debt - CONFIDENCE * self.sd


@dataclass(frozen=True, slots=True)
class Solution:
    """`shares` (segments + 1, variants) with exploration, `multipliers` (loss per unit of gain) and slack per bound."""

    shares: Array
    multipliers: Array
    slacks: tuple[Slack, ...]


def solve(problem: Problem, explore: Array, eligible: Mask, near: Array | None = None) -> Solution:
    """Shares that give every variant at least `explore` and the rest to the eligible ones as the program says.

    `explore` is (segments + 1, variants) with row sums below 1; `near` are multipliers of a similar problem, which
    make the search shorter. Infeasible bounds are violated as little as possible.
    """
    precision = _COARSE if near is None else _FINE
    lam = np.zeros(len(problem.bounds)) if near is None else near.copy()
    below = lam.copy()
    for _ in range(_ROUNDS if len(lam) > 1 else 1):
        for j in range(len(lam)):
            below[j], lam[j] = _multiplier(problem, explore, eligible, lam, j, precision)
    shares = mixed(problem, explore, eligible, lam)
    slacks = [slack(problem, bound, shares) for bound in problem.bounds]
    for j in range(len(lam)):
        if below[j] < lam[j]:
            trial = lam.copy()
            trial[j] = below[j]
            shares, slacks = _between(problem, shares, slacks, mixed(problem, explore, eligible, trial))
    return Solution(shares, lam, tuple(slacks))


def _between(problem: Problem, safe: Array, slacks: list[Slack], better: Array) -> tuple[Array, list[Slack]]:
    """As far from the safe shares towards the better ones as the bounds allow.

    At the right multiplier choices flip, and the bound may be met only by a mixture of before and after. The room left
    is a concave function of the shares, so that linear interpolation errs to the safe side.
    """
    part = 1.0
    for bound, here in zip(problem.bounds, slacks, strict=True):
        there = slack(problem, bound, better).room
        if there < min(0.0, here.room):
            part = min(part, max(0.0, here.room) / (max(0.0, here.room) - there))
    if part <= 0.0:
        return safe, slacks
    shares = safe + part * (better - safe)
    return shares, [slack(problem, bound, shares) for bound in problem.bounds]


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
    variance = problem.doubts[0][lines, leader]
    for doubt, multiplier in zip(problem.doubts[1:], lam.tolist(), strict=True):
        if multiplier > 0.0:
            variance = variance + multiplier * multiplier * doubt[lines, leader]
    beats = _normal_tail(gap / (TEMPER * np.sqrt(variance) + 1e-300))
    beats[lines, leader] = 0.0
    beats[lines, leader] = 1.0 - beats.max(axis=1)
    beats /= beats.sum(axis=1, keepdims=True)
    return beats


def slack(problem: Problem, bound: Bound, shares: Array) -> Slack:
    """Where the bound stands under the shares, against the rival that leaves the least room."""
    weights = problem.share[:, None] * shares
    gain = bound.gain
    value = float((weights * gain.mean).sum())
    luck = float((weights * gain.noise).sum()) / CALLS
    if not bound.rivals:
        variance = gain.variance_of(weights) + luck
        return Slack(value, bound.target, math.sqrt(variance), bound.debt, weights)
    variances = gain.variances_against(weights, bound.ratio * problem.share) + luck
    targets = bound.ratio * (problem.share[:, None] * gain.mean).sum(axis=0)
    deviations = np.sqrt(variances)
    wanted_most = targets + CONFIDENCE * deviations
    rival = max(bound.rivals, key=wanted_most.tolist().__getitem__)
    weights[:, rival] -= bound.ratio * problem.share
    return Slack(value, float(targets[rival]), float(deviations[rival]), bound.debt, weights)


def _multiplier(
    problem: Problem, explore: Array, eligible: Mask, lam: Array, j: int, precision: float
) -> tuple[float, float]:
    """A multiplier at which bound `j` does not hold and one, little larger, at which it does, the others given.

    Both are 0 when it holds anyway; the second is the largest tried when it holds nowhere.
    """
    bound, trial = problem.bounds[j], lam.copy()

    def room(logarithm: float) -> float:
        trial[j] = math.exp(logarithm)
        return slack(problem, bound, mixed(problem, explore, eligible, trial)).room

    trial[j] = 0.0
    if slack(problem, bound, mixed(problem, explore, eligible, trial)).room >= 0.0:
        return 0.0, 0.0
    middle = math.log(_scale(problem, bound, eligible))
    low, high = middle - _DECADES * math.log(10.0), middle + _DECADES * math.log(10.0)
    if lam[j] > 0.0:  # a guess: close in on it from outside, by factors 2, 8, 128
        guess = math.log(lam[j])
        for step in (1.0, 3.0, 7.0):
            below, above = guess - step * math.log(2.0), guess + step * math.log(2.0)
            if below > low and room(below) < 0.0:
                low = below
                if above < high and room(above) >= 0.0:
                    high = above
                break
            high = min(high, max(below, low))
    while high - low > precision:
        middle = 0.5 * (low + high)
        if room(middle) >= 0.0:
            high = middle
        else:
            low = middle
    return math.exp(low), math.exp(high)


def _scale(problem: Problem, bound: Bound, eligible: Mask) -> float:
    """The ratio of the ranges of loss and gain: a multiplier of this size makes both matter alike."""
    loss, gain = (np.ptp(table[:, eligible]) for table in (problem.loss.mean, bound.gain.mean))
    return float(max(loss, 1e-12) / max(gain, 1e-6))


def _normal_tail(x: Array) -> Array:
    """P(Z > x) of the standard normal for x >= 0, to 2e-4, without scipy (Bowling et al., JIEM 2009)."""
    x = np.minimum(x, 8.0)
    return 1.0 / (1.0 + np.exp(x * (1.5976 + 0.07056 * x * x)))
