"""Several bounds at once: the constrained choice as a linear program, whose multipliers are its dual values.

With one bound a bisection is exact; with more, taking multipliers in turn can stick where choices flip, so the program
itself is solved (HiGHS; Huangfu and Hall, Math. Prog. Comp. 10, 2018). The margins depend on the shares and are
brought up to date between a few solutions.
"""

from typing import Final

import numpy as np

from optimizer.core.learning.objective import Bound, Problem
from optimizer.core.learning.slack import Slack, slacks
from optimizer.core.learning.tables import Array, Mask

_UPDATES: Final = 3
_FEWER: Final = 2
_PENALTY: Final = 1e3
"""What violating a bound by the whole range of its gain loses: so much more than any loss that it is a last resort."""
_UNSEEN: Final = 1e-6
"""The weight of segments without traffic in the loss: no bound sees them, their choice should be cheap all the same."""


def optimum(
    problem: Problem, explore: Array, eligible: Mask, near: tuple[Array, Array] | None = None
) -> tuple[Array, Array, Array]:
    """Shares (with `explore` in them), multipliers, and the multipliers that the margins were computed for.

    What cannot be kept is violated as little as possible. `near` are shares and multipliers of a similar problem: from
    there fewer solutions are enough.
    """
    free = (1.0 - explore.sum(axis=1, keepdims=True)) * eligible / eligible.sum()
    shares, lam = near or (explore + free, np.zeros(len(problem.bounds)))
    prices = lam
    for _ in range(_UPDATES if near is None else _FEWER):
        prices = lam
        shares, lam = _solved(problem, explore, eligible, slacks(problem, shares, prices))
    return shares, lam, prices


def _solved(problem: Problem, explore: Array, eligible: Mask, here: tuple[Slack, ...]) -> tuple[Array, Array]:
    # Imported on first use: 0.3 s that services with at most one bound never pay.
    from scipy.optimize import linprog

    lines, variants = explore.shape
    weight = np.maximum(problem.share, _UNSEEN)[:, None]
    scales = [max(float(np.ptp(bound.gain.mean)), 1e-9) for bound in problem.bounds]
    cost = np.concatenate([(weight * problem.loss.mean).ravel(), [_PENALTY] * len(here)])
    above = np.zeros((len(here), cost.size))
    least = np.zeros(len(here))
    for j, (bound, now, scale) in enumerate(zip(problem.bounds, here, scales, strict=True)):
        above[j, : lines * variants] = _traffic(problem, bound).ravel() / scale
        above[j, lines * variants + j] = 1.0
        least[j] = (now.wanted - float((_traffic(problem, bound) * explore).sum())) / scale
    whole = np.zeros((lines, cost.size))
    for line in range(lines):
        whole[line, line * variants : (line + 1) * variants] = 1.0
    rest = 1.0 - explore.sum(axis=1)
    limits = [(0.0, None if eligible[i % variants] else 0.0) for i in range(lines * variants)]
    result = linprog(
        cost,
        A_ub=-above,
        b_ub=-least,
        A_eq=whole,
        b_eq=rest,
        bounds=limits + [(0.0, None)] * len(here),
        method="highs",
    )
    if result.x is None:
        raise ArithmeticError(f"the linear program of a policy has no solution: {result.message}")
    shares = explore + np.clip(np.asarray(result.x)[: lines * variants].reshape(explore.shape), 0.0, 1.0)
    return shares, np.abs(np.asarray(result.ineqlin.marginals)) / np.asarray(scales)


def _traffic(problem: Problem, bound: Bound) -> Array:
    weighted: Array = problem.share[:, None] * bound.gain.mean
    return weighted
