"""How far a bound is from being violated under given shares, with its margin for what is not known and for luck."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.tables import Array

FORFEIT: Final = 1.0
"""What missing a bound is taken to lose, in multiples of what is at stake (`Bound.stake`): all that was to be saved."""
SUREST: Final = 1.8
LEAST_SURE: Final = 1.0
"""Standard deviations of margin where it is cheapest and dearest."""
TOLERANCE: Final = 1.0
"""Standard deviations of the luck of `CALLS` calls by which their mean may be short before it is called a miss."""
CALLS: Final = 2000.0
"""The number of calls whose own mean should keep the bound, so that their luck has its place in the margin."""


@dataclass(frozen=True, slots=True)
class Slack:
    """How far a bound is from being violated under some shares.

    `sd` is the standard deviation of `value - target`, `sure` how many of them the margin has, less `luck`, the
    shortfall that is put down to chance, and `weights` are the derivatives of `value - target` by each cell.
    """

    value: float
    target: float
    sd: float
    luck: float
    sure: float
    debt: float
    weights: Array

    @property
    def wanted(self) -> float:
        """What `value` should be: the target, the debt and the margin."""
        return self.target + self.debt + self.sure * self.sd - self.luck

    @property
    def room(self) -> float:
        """What is left after the margin; negative when the bound is not kept with confidence."""
        return self.value - self.wanted

    @property
    def holds(self) -> bool:
        """Whether the bound is kept with confidence, up to a twentieth of a standard deviation."""
        return self.room >= -0.05 * self.sd - 1e-12


def surety(stake: float, price: float, sd: Array | float) -> Array:
    """How many standard deviations of margin pay: one more unit of margin costs `price` and lowers the probability of
    missing the bound by the normal density; a miss loses `FORFEIT` times the stake. Never more than `SUREST`.
    """
    ratio = np.maximum(FORFEIT * stake, 1e-12) / np.maximum(price * np.asarray(sd) * math.sqrt(2.0 * math.pi), 1e-15)
    z: Array = np.clip(np.sqrt(2.0 * np.log(np.maximum(ratio, 1.0))), LEAST_SURE, SUREST)
    return z


def slack(problem: Problem, bound: Bound, shares: Array, price: float) -> Slack:
    """Where the bound stands under the shares at that multiplier, against the rival that leaves the least room."""
    weights = problem.share[:, None] * shares
    gain = bound.gain
    value = float((weights * gain.mean).sum())
    luck = float((weights * gain.noise).sum()) / CALLS
    short = TOLERANCE * math.sqrt(luck)
    if not bound.rivals:
        sd = math.sqrt(gain.variance_of(weights) + luck)
        alone = float(surety(bound.stake, price, sd))
        return Slack(value, bound.target, sd, short, alone, bound.debt, weights)
    deviations = np.sqrt(gain.variances_against(weights, bound.ratio * problem.share) + luck)
    targets = bound.ratio * (problem.share[:, None] * gain.mean).sum(axis=0)
    sure = surety(bound.stake, price, deviations)
    wanted_most = (targets + sure * deviations).tolist()
    rival = max(bound.rivals, key=wanted_most.__getitem__)
    weights[:, rival] -= bound.ratio * problem.share
    return Slack(value, float(targets[rival]), float(deviations[rival]), short, float(sure[rival]), bound.debt, weights)


def slacks(problem: Problem, shares: Array, multipliers: Array) -> tuple[Slack, ...]:
    """The slack of every bound under the shares, each at its multiplier."""
    prices = multipliers.tolist()
    return tuple(slack(problem, bound, shares, price) for bound, price in zip(problem.bounds, prices, strict=True))
