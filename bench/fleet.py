"""Many comparisons at once: the judge's test of means, and its peers, over whole arrays of simulated canaries.

`Fleet` repeats optimizer.core.judge.contrast for blocks of one outcome of each arm, number for number
(tests/bench/test_fleet.py holds the two together); only so can ten thousand canaries be judged at every look in
minutes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.core.judge.contrast import CAP_FACTOR, CAP_POSITIVES, CAP_TRIES
from optimizer.core.judge.guardrail import Guardrail, rule_of
from optimizer.core.judge.wager import STAKE_LIMIT, Plan, remaining

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def slope(deficit: Floats) -> Floats:
    """optimizer.core.judge.wager.slope over an array."""
    lack = np.maximum(deficit, 0.0)
    return np.where(deficit <= 0.0, 0.798, np.sqrt(0.637 + lack * (1.3 + 0.6 * lack / (lack + 3.2))))


@dataclass(slots=True)
class Wagers:
    """One wager per canary: [component, canary] log(level * weight * wealth)."""

    plan: Plan
    logs: Floats

    @classmethod
    def open(cls, plan: Plan, alpha: float, size: int) -> "Wagers":
        """Wagers with no evidence."""
        return cls(plan, np.log(alpha * np.array(plan.weights))[:, None] + np.zeros((1, size)))

    def bet(self, on: Flags, gain: Floats, lowest: Floats, variance: Floats, step: NDArray[np.int64]) -> None:
        """Stake on one increment where `on`."""
        for i, horizon in enumerate(self.plan.horizons):
            steps, inverse = np.unique(step, return_inverse=True)
            left = np.array([remaining(horizon, int(s), self.plan.limit) for s in steps])[inverse]
            stake = np.minimum(slope(-self.logs[i]) / np.sqrt(variance * left), -STAKE_LIMIT / lowest)
            self.logs[i] += np.where(on, np.log1p(np.where(on, stake * gain, 0.0)), 0.0)

    @property
    def rejects(self) -> Flags:
        """Which canaries reject."""
        return np.asarray(np.logaddexp.reduce(self.logs, axis=0) >= 0.0)


def variances(n: Floats, total: Floats, squares: Floats) -> Floats:
    """optimizer.core.judge.pairing.Tally.variance over an array."""
    weight = 4.0 / (1.0 + n / 10.0)
    mean = (total + weight / 2.0) / (n + weight)
    return (squares + weight / 2.0) / (n + weight) - mean * mean


class Fleet:
    """The judge on `size` canaries: `step` takes one outcome of the baseline and one of the candidate of each."""

    def __init__(self, guardrail: Guardrail, limit: int, alpha: float, size: int) -> None:
        self.rule = rule_of(guardrail, float(limit))
        self.alarm = Wagers.open(self.rule.alarm, alpha, size)
        self.proof = Wagers.open(self.rule.proof, alpha, size)
        self.n, self.sums, self.squares = np.zeros((2, size)), np.zeros((2, size)), np.zeros((2, size))
        self.cap = np.full(size, self.rule.scale if self.rule.scale is not None else np.nan)
        self.largest, self.positives, self.tried = np.zeros(size), np.zeros(size), np.zeros(size)
        self.waiting: Floats = np.full(size, np.nan)

    def step(self, baseline: Floats, candidate: Floats) -> tuple[Flags, Flags]:
        """Which canaries reject "no harm beyond the bound" and which "harm beyond it" after this block."""
        rule = self.rule
        start = np.isnan(self.cap)
        self._learn(baseline)
        first = np.isnan(self.cap)  # the baseline's outcome closes the lesson for its successor, not for itself
        self._learn(candidate)
        on = ~start
        late = start & ~first  # the candidate's outcome came after the lesson and waits for the next baseline's
        waits = ~np.isnan(self.waiting)
        cap = np.where(np.isnan(self.cap), 1.0, self.cap)
        y = np.where(waits, self.waiting, candidate)
        self.waiting = np.where(late, candidate, np.where(waits & on, candidate, self.waiting))
        score_y = np.minimum(y, cap) / cap
        score_x = np.minimum(rule.ratio * baseline, cap) / cap
        variance = variances(self.n[0], self.sums[0], self.squares[0]) + variances(
            self.n[1], self.sums[1], self.squares[1]
        )
        allowed = rule.allowed / cap
        harm = rule.sign * (score_y - score_x) - allowed
        count = self.n[0].astype(np.int64)
        self.alarm.bet(on, harm, -1.0 - allowed, variance, count)
        self.proof.bet(on, -harm, np.minimum(-1.0 + allowed, -0.01), variance, count)
        for arm, score in enumerate((score_x, score_y)):
            self.n[arm] += on
            self.sums[arm] += np.where(on, score, 0.0)
            self.squares[arm] += np.where(on, score * score, 0.0)
        return self.alarm.rejects, self.proof.rejects

    def _learn(self, value: Floats) -> None:
        on = np.isnan(self.cap)
        if not on.any():
            return
        self.largest = np.where(on, np.maximum(self.largest, value), self.largest)
        self.positives += on & (value > 0.0)
        self.tried += on
        done = on & ((self.positives >= CAP_POSITIVES) | ((self.positives > 0) & (self.tried >= CAP_TRIES)))
        learnt = np.maximum(CAP_FACTOR * self.largest, 2.0 * abs(self.rule.allowed)) * max(1.0, self.rule.ratio)
        self.cap = np.where(done, learnt, self.cap)


class Normal:
    """Running mean and variance of harm beyond the bound, for tests that trust the normal distribution."""

    def __init__(self, guardrail: Guardrail, limit: int, size: int) -> None:
        self.rule = rule_of(guardrail, float(limit))
        self.n = 0
        self.total, self.squares = np.zeros(size), np.zeros(size)

    def step(self, baseline: Floats, candidate: Floats) -> None:
        """Include one outcome of each arm of each canary."""
        harm = self.rule.sign * (candidate - self.rule.ratio * baseline) - self.rule.allowed
        self.n += 1
        self.total += harm
        self.squares += harm * harm

    def z(self) -> Floats:
        """Standardised mean harm; 0 where it does not vary."""
        mean = self.total / self.n
        spread = np.sqrt(np.maximum(self.squares / self.n - mean * mean, 0.0) / self.n)
        return np.where(spread > 0.0, mean / np.where(spread > 0.0, spread, 1.0), 0.0)

    def mixture(self, alpha: float) -> tuple[Flags, Flags]:
        """Mixture SPRT at level alpha on each side; prior of a quarter of the standard deviation of one block."""
        z = self.z()
        ratio = self.n * 0.25**2
        log = -0.5 * np.log1p(ratio) + z * z * ratio / (2.0 * (1.0 + ratio))
        sure = log >= np.log(1.0 / (2.0 * alpha))
        return sure & (z > 0.0), sure & (z < 0.0)
