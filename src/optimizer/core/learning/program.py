"""The constrained choice: shares per segment that minimise the expected loss while every bound holds with confidence.

    minimise   sum_s share_s sum_v p_sv loss_sv
    subject to sum_s share_s sum_v p_sv gain_sv >= target                    for every bound

For a given multiplier the program falls apart into one choice per segment (Lagrangian relaxation), so one bound is
solved exactly by bisection of its multiplier; several go to `optimizer.core.learning.linear`. The choices are softened
to posterior probabilities of being the best one (Thompson, Biometrika 25, 1933, made explicit).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.core.learning.linear import optimum
from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.slack import Slack, slack, slacks
from optimizer.core.learning.tables import Array, Mask

TEMPER: Final = 0.8
"""Shares are as sharp as if the posterior's deviations were this part of themselves: knowledge that a bound needs is
bought separately where it pays (`exploration.worthwhile`), not drawn everywhere."""
_DECADES: Final = 4.0
_COARSE: Final = 0.5
_FINE: Final = 0.05
"""Relative precision of a multiplier in a first and in a repeated search; the bound holds at the value taken."""


@dataclass(frozen=True, slots=True)
class Solution:
    """`shares` (segments + 1, variants) with exploration, `multipliers` (loss per unit of gain) and slack per bound."""

    shares: Array
    multipliers: Array
    slacks: tuple[Slack, ...]


def solve(problem: Problem, explore: Array, eligible: Mask, near: Solution | None = None) -> Solution:
    """Shares that give every variant at least `explore` and the rest to the eligible ones as the program says.

    `explore` is (segments + 1, variants) with row sums below 1; `near` is the solution of a similar problem, which
    makes the search shorter. Infeasible bounds are violated as little as possible.
    """
    if len(problem.bounds) > 1:
        start = None if near is None else (near.shares, near.multipliers)
        shares, lam, prices = optimum(problem, explore, eligible, start)
        unseen = problem.share <= 0.0
        shares[unseen] = mixed(problem, explore, eligible, lam)[unseen]
        return Solution(shares, lam, slacks(problem, shares, prices))
    lam = np.zeros(len(problem.bounds)) if near is None else near.multipliers.copy()
    below = lam.copy()
    for bound in problem.bounds:
        below[0], lam[0] = _multiplier(problem, bound, explore, eligible, lam[0], _COARSE if near is None else _FINE)
    shares = mixed(problem, explore, eligible, lam)
    if (below < lam).any():
        shares = _between(problem, shares, mixed(problem, explore, eligible, below), float(lam[0]))
    return Solution(shares, lam, slacks(problem, shares, lam))


def _between(problem: Problem, safe: Array, better: Array, price: float) -> Array:
    """As far from the safe shares towards the better ones as the bound allows.

    At the right multiplier choices flip, and the bound may be met only by a mixture of before and after. The room left
    is a concave function of the shares, so that linear interpolation errs to the safe side.
    """
    here, there = (slack(problem, problem.bounds[0], shares, price).room for shares in (safe, better))
    room = max(0.0, here)
    part = room / (room - there) if there < min(0.0, here) else 1.0
    mixture: Array = safe + part * (better - safe)
    return mixture


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


def _multiplier(
    problem: Problem, bound: Bound, explore: Array, eligible: Mask, guess: float, precision: float
) -> tuple[float, float]:
    """A multiplier at which the only bound does not hold and one, little larger, at which it does.

    Both are 0 when it holds anyway; the second is the largest tried when it holds nowhere.
    """

    def priced(multiplier: float) -> float:
        shares = mixed(problem, explore, eligible, np.array([multiplier]))
        return slack(problem, bound, shares, multiplier).room

    def room(logarithm: float) -> float:
        return priced(math.exp(logarithm))

    if priced(0.0) >= 0.0:
        return 0.0, 0.0
    middle = math.log(_scale(problem, bound, eligible))
    low, high = middle - _DECADES * math.log(10.0), middle + _DECADES * math.log(10.0)
    if guess > 0.0:  # close in on it from outside, by factors 2, 8, 128
        for step in (1.0, 3.0, 7.0):
            below, above = math.log(guess) - step * math.log(2.0), math.log(guess) + step * math.log(2.0)
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
