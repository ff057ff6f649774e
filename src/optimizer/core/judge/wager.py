"""Test martingales that aim at a horizon: finite-sample evidence against "the mean is at most zero", valid at every
look.

A wager bets on bounded increments z. Its wealth is the product of (1 + stake * z) with every stake fixed before z is
seen, so under the null the wealth is a supermartingale and reaches 1/alpha with probability at most alpha, at any
time (Ville 1939; Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", 2021). No
distribution is assumed, and no stake can spoil the guarantee: stakes only decide the power.

The stakes imitate the wealth of the best sequential test for a horizon of T increments: a Brownian motion that is
stopped at a level c reaches it again with probability 2 * (1 - Phi(u)), u = distance / sqrt(remaining variance); that
probability over alpha is a martingale, and its logarithmic slope is the stake. The distance is recomputed from the
actual wealth before every bet, as in Voracek & Orabona, "STaR-Bets" (2024). Several horizons share the level, so that
large differences are seen early and small ones late.
"""

import math
from dataclasses import dataclass

import msgspec

FIRST_HORIZON = 80  # blocks by which a large difference should be decided
STAKE_LIMIT = 0.9  # largest share of the wealth that one increment can lose
LATE_SHARE = 0.05  # near its horizon a component bets as if this share of it were left
GROWTH = 4  # an unlimited plan moves a passed horizon out by this factor


@dataclass(frozen=True, slots=True)
class Plan:
    """How a level is split over horizons (in increments); `limit` is the last possible increment, None when open."""

    weights: tuple[float, ...]
    horizons: tuple[float, ...]
    limit: float | None = None


def plan_alarm(limit: float | None) -> Plan:
    """Half of the level for large differences early, the rest for smaller ones later."""
    if limit is None:
        return Plan((0.5, 0.25, 0.25), (FIRST_HORIZON, 4 * FIRST_HORIZON, 16 * FIRST_HORIZON))
    if limit <= 1.5 * FIRST_HORIZON:
        return Plan((1.0,), (limit,), limit)
    return Plan((0.5, 0.25, 0.25), (FIRST_HORIZON, math.sqrt(FIRST_HORIZON * limit), limit), limit)


def plan_proof(limit: float | None) -> Plan:
    """Most of the level goes to the horizon, a quarter to what is clear sooner."""
    if limit is None:
        return Plan((0.5, 0.5), (4 * FIRST_HORIZON, 16 * FIRST_HORIZON))
    if limit <= 1.5 * FIRST_HORIZON:
        return Plan((1.0,), (limit,), limit)
    return Plan((0.25, 0.75), (math.sqrt(FIRST_HORIZON * limit), limit), limit)


class Wager(msgspec.Struct, array_like=True):
    """Per component log(level * weight * wealth);
    the null is rejected at the level when their exponentials reach 1.
    """

    logs: list[float]

    @property
    def evidence(self) -> float:
        """log(level * wealth): 0 or more rejects the null."""
        top = max(self.logs)
        return top + math.log(sum(math.exp(x - top) for x in self.logs))

    @property
    def rejects(self) -> bool:
        """Whether the evidence suffices at the level now."""
        logs = self.logs
        return max(logs) >= -math.log(len(logs)) and self.evidence >= 0.0


def open_wager(plan: Plan, alpha: float) -> Wager:
    """A wager with no evidence yet."""
    return Wager([math.log(alpha * weight) for weight in plan.weights])


def slope(deficit: float) -> float:
    """phi(u) / (1 - Phi(u)) where 2 * (1 - Phi(u)) = exp(-deficit), to within 2 %;
    what is lacking costs power only.
    """
    if deficit <= 0.0:
        return 0.798
    return math.sqrt(0.637 + deficit * (1.3 + 0.6 * deficit / (deficit + 3.2)))


def remaining(horizon: float, step: int, limit: float | None) -> float:
    """Increments left to the horizon, which moves out when it was passed, up to the limit."""
    while step >= horizon and (limit is None or horizon < limit):
        horizon *= GROWTH
        if limit is not None and horizon > limit:
            horizon = limit
    return max(horizon - step, LATE_SHARE * horizon)


def bet(wager: Wager, plan: Plan, gain: float, *, lowest: float, variance: float, step: int) -> None:
    """Stake on one increment, in place.

    `gain` is the increment (mean at most 0 under the null), `lowest` (< 0) its smallest possible value, `variance` an
    estimate made before it was seen, `step` how many increments came before.
    """
    most = -STAKE_LIMIT / lowest
    logs = wager.logs
    for i, horizon in enumerate(plan.horizons):
        left = remaining(horizon, step, plan.limit)
        stake = min(slope(-logs[i]) / math.sqrt(variance * left), most)
        logs[i] += math.log1p(stake * gain)
