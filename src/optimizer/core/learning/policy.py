"""Learning: from evidence to the probabilities of every variant in every segment, purely and reproducibly."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optimizer.core.learning import exploration, posterior
from optimizer.core.learning.evidence import Evidence
from optimizer.core.learning.objective import Problem, measure, pose
from optimizer.core.learning.program import Solution, lagrangian, solve, wanted
from optimizer.core.learning.tables import Array, Mask, Tables, tabulate
from optimizer.model import Constraint, Row, Service

PARTS = 1_000_000
"""Probabilities are whole millionths: the same text on every machine, and a sum of exactly one million."""


@dataclass(frozen=True, slots=True)
class BoundReport:
    """One constraint under the new policy: expected `value` against `target`, the `sd` of their difference, whether it
    holds with confidence, and the `multiplier`: what one unit more of the constrained metric would cost."""

    constraint: Constraint
    value: float
    target: float
    sd: float
    holds: bool
    multiplier: float


@dataclass(frozen=True, slots=True)
class Rows:
    """A policy's content. `stale` are the cells whose evidence should `forget()` before the next event is observed."""

    default: Row
    rows: dict[str, Row]
    bounds: tuple[BoundReport, ...]
    stale: tuple[tuple[str, str], ...]


def learn(service: Service, evidence: Mapping[tuple[str, str], Evidence]) -> Rows:
    """The probabilities that follow from the evidence, by (segment, variant name).

    Deterministic: no randomness, and the order of the mapping does not matter. Every variant's probability in every
    row is positive (unless there is only one variant). Evidence about variants that the service no longer has is
    ignored. Raises `InvalidArgument` for an objective that cannot be computed.
    """
    tables = tabulate(service, evidence)
    stale = _stale(service, tables)
    if stale:
        tables = tabulate(service, _refreshed(evidence, stale))
    problem = pose(service, tables, measure(tables))
    eligible = exploration.eligibility(problem)
    base = exploration.trials(problem, tables)
    solution = solve(problem, base, eligible)
    base = np.maximum(base, exploration.floors(problem, solution))
    extra = exploration.worthwhile(problem, tables, solution, base)
    solution = _explored(problem, base, extra, eligible, solution)
    best = lagrangian(problem, solution.multipliers)
    leader = np.where(eligible, best, np.inf).argmin(axis=1)
    used = wanted(problem, eligible, solution.multipliers) >= 0.2
    used[np.arange(len(used)), leader] = True
    rows = _rows(solution.shares, used)
    reports = tuple(
        BoundReport(
            bound.constraint, slack.value, slack.target, slack.sd, slack.holds, float(multiplier) * problem.unit
        )
        for bound, slack, multiplier in zip(problem.bounds, solution.slacks, solution.multipliers, strict=True)
    )
    return Rows(
        default=rows[-1],
        rows=dict(zip(tables.segments, rows, strict=False)),
        bounds=reports,
        stale=stale,
    )


def _explored(problem: Problem, base: Array, extra: Array, eligible: Mask, first: Solution) -> Solution:
    """The solution with as much of the extra exploration as breaks no bound that holds without it."""
    kept = [slack.holds for slack in first.slacks]
    solution = first
    for part in (1.0, 0.4, 0.0):
        solution = solve(problem, base + part * extra, eligible, first)
        if all(slack.holds or not before for slack, before in zip(solution.slacks, kept, strict=True)):
            break
    return solution


def _stale(service: Service, tables: Tables) -> tuple[tuple[str, str], ...]:
    """The cells whose recent record contradicts the long one, in the order of the tables."""
    old = posterior.stale(tables.quality, tables.recent_quality)
    old |= posterior.stale(tables.outcomes, tables.recent_errors)
    names = [variant.name for variant in service.variants]
    return tuple((tables.segments[i], names[j]) for i, j in np.argwhere(old).tolist())


def _refreshed(
    evidence: Mapping[tuple[str, str], Evidence], stale: tuple[tuple[str, str], ...]
) -> dict[tuple[str, str], Evidence]:
    """The evidence as it will be when the caller has let the stale cells forget; the given evidence is not touched."""
    fresh = dict(evidence)
    for cell in stale:
        fresh[cell] = Evidence.restore(evidence[cell].state())
        fresh[cell].forget()
    return fresh


def _rows(shares: Array, used: Mask) -> list[Row]:
    """Shares as whole millionths by largest remainder, none of a positive share below one."""
    exact = shares / shares.sum(axis=1, keepdims=True) * PARTS
    whole = np.maximum(np.floor(exact), 1.0)
    rest = exact - whole
    rows: list[Row] = []
    for line, (parts, remainders) in enumerate(zip(whole.tolist(), rest.tolist(), strict=True)):
        missing = PARTS - int(sum(parts))
        if missing < 0:
            parts[parts.index(max(parts))] += missing
        else:
            for i in sorted(range(len(parts)), key=lambda i: -remainders[i])[:missing]:
                parts[i] += 1.0
        rows.append(Row(tuple(part / PARTS for part in parts), tuple(used[line].tolist())))
    return rows
