"""How much traffic each variant gets beside the solution: trials, knowledge that pays for itself, a floor."""

from typing import Final

import numpy as np

from optimizer.core.learning.objective import Problem
from optimizer.core.learning.program import Solution, lagrangian
from optimizer.core.learning.tables import Array, Mask, Tables

TRIAL: Final = 0.3
"""Share of the traffic for all variants on trial together; each gets at most `TRIAL_EACH`."""
TRIAL_EACH: Final = 0.06
HOPELESS: Final = 300.0
FLOOR: Final = 0.003
"""What every variant gets for ever in every segment, so that one that became better is found, as far as that may cost
`BUDGET` of the loss; and at least `LEAST`, so that every choice has a probability."""
BUDGET: Final = 0.01
LEAST: Final = 0.0001
HORIZON: Final = 4000.0
"""Calls for which knowledge is bought at least. It is constant at first, so that what is worth knowing is learnt early
and then bought no more until there were more calls than these."""
PERIOD: Final = 250.0
"""Calls over which missing knowledge is collected, as far as `MOST` allows."""
MOST: Final = 0.4
"""The most that exploration for knowledge may take of a segment."""
MOST_ASTRAY: Final = 0.1


def eligibility(problem: Problem) -> Mask:
    """The variants that the solution may rely on: those with evidence; the baseline alone when none has."""
    eligible = ~problem.untried
    if not eligible.any():
        eligible[problem.baseline] = True
    return eligible


def trials(problem: Problem, tables: Tables) -> Array:
    """The shares for variants without the evidence that the objective needs, and `LEAST` for everybody else."""
    variants = len(problem.untried)
    if variants == 1:
        return np.zeros_like(tables.events)
    # Tried again and again and still unknown: it will not be known by more of the same.
    trying = problem.untried & (tables.events.sum(axis=0) <= HOPELESS)
    trying[problem.baseline] &= bool(problem.untried.all())
    each = min(TRIAL_EACH, TRIAL / max(int(trying.sum()), 1))
    return np.broadcast_to(np.where(trying, each, LEAST), tables.events.shape).copy()


def floors(problem: Problem, solution: Solution) -> Array:
    """The share of every variant in every segment that watching it is worth, `FLOOR` or what the budget allows."""
    if len(problem.untried) == 1:
        return np.zeros_like(solution.shares)
    total = lagrangian(problem, solution.multipliers)
    gap = total - total.min(axis=1, keepdims=True)
    spent = abs(float((problem.share[:, None] * solution.shares * problem.loss.mean).sum()))
    allowed = BUDGET * spent / len(problem.untried)
    shares: Array = np.clip(allowed / (gap + allowed / FLOOR + 1e-300), LEAST, FLOOR)
    return shares


def worthwhile(problem: Problem, tables: Tables, solution: Solution, base: Array) -> Array:
    """Additional shares that make the bounds' margins smaller by more than they cost.

    A bound's margin is `Slack.sure` standard deviations, priced by its multiplier. Calls spent on a cell with noise s^2
    and weight w in the bound lower its variance w^2 s^2 / n (n includes what the prior is worth). Minimising margin
    plus cost over the calls to come (as many as there were, at least `HORIZON`) gives the optimal count

        n = |w| s sqrt(multiplier * sure * horizon / (2 sd gap))

    with the gap that one such call loses (Neyman allocation with costs; Cochran, Sampling Techniques, 3rd ed., 5.5).
    """
    total = lagrangian(problem, solution.multipliers)
    gap = total - total.min(axis=1, keepdims=True)
    horizon = max(float(tables.outcomes.n.sum()), HORIZON)
    calls = problem.share[:, None] * PERIOD
    extra = np.zeros_like(base)
    for bound, slack, lam in zip(problem.bounds, solution.slacks, solution.multipliers, strict=True):
        if lam <= 0.0 or slack.sd <= 0.0:
            continue
        have = bound.gain.noise / np.maximum(bound.gain.own, 1e-300)
        cost = np.maximum(gap, 1e-3 * gap.max(initial=1e-300))
        count = np.abs(slack.weights) * np.sqrt(bound.gain.noise * lam * slack.sure * horizon / (2.0 * slack.sd * cost))
        missing = np.where(calls > 0.0, (count - have) / np.maximum(calls, 1e-9), 0.0)
        # A bound that nothing can keep has no sensible price: then knowledge may cost little only.
        extra = np.maximum(extra, np.minimum(missing, MOST if slack.holds else MOST_ASTRAY))
    room = np.clip(MOST - base.sum(axis=1, keepdims=True), 0.0, None)
    extra = np.clip(extra - solution.shares, 0.0, MOST)
    asked = extra.sum(axis=1, keepdims=True)
    extra *= np.minimum(1.0, room / np.maximum(asked, 1e-12))
    return extra
