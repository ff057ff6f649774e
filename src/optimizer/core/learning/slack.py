"""How far a bound is from being violated under given shares, with its margin for what is not known and for luck."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.tables import Array

CONFIDENCE: Final = 1.0
"""Standard deviations of posterior and luck together: a bound holds with a probability of 84 % against each rival."""
CALLS: Final = 2000.0
"""The number of calls whose own mean should keep the bound, so that their luck has its place in the margin."""


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
    def wanted(self) -> float:
        """What `value` should be: the target, the debt and a margin of `CONFIDENCE` standard deviations."""
        return self.target + self.debt + CONFIDENCE * self.sd

    @property
    def room(self) -> float:
        """What is left after the margin; negative when the bound is not kept with confidence."""
        return self.value - self.wanted

    @property
    def holds(self) -> bool:
        """Whether the bound is kept with confidence, up to a twentieth of a standard deviation."""
        return self.room >= -0.05 * self.sd - 1e-12


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
