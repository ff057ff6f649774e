"""Peers of the learning policy that maximise one number: track-and-stop and LinUCB, after their papers.

Both are told the price of quality (`Gift`), which nobody knows before the end; ours has to find it.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.policy import Chooser, Data

DELTA = 0.05
SPREAD = 0.5
"""The standard deviation that is assumed of a reward: the largest that a pass/fail outcome can have."""


@dataclass(frozen=True, slots=True)
class Gift:
    """What a unit of quality is worth in money, and the largest mean cost there is."""

    price: float
    dearest: float

    def reward(self, quality: float, cost: float) -> float:
        """Quality's worth less the cost, on a scale where outcomes differ by about 1."""
        return (self.price * quality - cost) / max(self.price, self.dearest)


class TrackAndStop(Chooser):
    """D-tracking with Chernoff's stopping rule for Gaussian arms, for each segment (Garivier & Kaufmann, COLT 2016).

    Once it has stopped with confidence 1 - `DELTA` it commits to the arm that it found.
    """

    def __init__(self, data: Data, gift: Gift) -> None:
        self.gift = gift
        self.arms = len(data.variants)
        self.count: dict[str, list[int]] = defaultdict(lambda: [0] * self.arms)
        self.asked: dict[str, list[int]] = defaultdict(lambda: [0] * self.arms)
        self.total: dict[str, list[float]] = defaultdict(lambda: [0.0] * self.arms)
        self.found: dict[str, int] = {}

    def choose(self, segment: str, unit: float) -> int:
        """The winner; before there is one, the arm that is furthest behind its optimal share of the draws."""
        del unit
        if segment in self.found:
            return self.found[segment]
        count, asked = self.count[segment], self.asked[segment]
        arm = asked.index(min(asked))  # forced exploration, by draws: what comes back may be late or missing
        if asked[arm] >= math.sqrt(sum(asked)) - self.arms / 2 and min(count) > 0:
            shares = _shares([t / n for t, n in zip(self.total[segment], count, strict=True)])
            arm = max(range(self.arms), key=lambda a: sum(asked) * shares[a] - asked[a])
        asked[arm] += 1
        return arm

    def take(self, segment: str, variant: int, quality: float | None, cost: float, latency_ms: float) -> None:
        """Count the reward and see whether that is enough to stop."""
        del latency_ms
        if quality is None or segment in self.found:
            return
        count, total = self.count[segment], self.total[segment]
        count[variant] += 1
        total[variant] += self.gift.reward(quality, cost)
        if min(count) == 0:
            return
        means = [t / n for t, n in zip(total, count, strict=True)]
        best = max(range(self.arms), key=means.__getitem__)
        evidence = min(
            (means[best] - means[a]) ** 2 * count[best] * count[a] / (count[best] + count[a]) / (2 * SPREAD * SPREAD)
            for a in range(self.arms)
            if a != best
        )
        if evidence > math.log((math.log(sum(count)) + 1.0) / DELTA):
            self.found[segment] = best


def _shares(means: list[float]) -> list[float]:
    """The shares of draws that tell the best of Gaussian arms of equal variance soonest (theorem 5 there)."""
    best = max(range(len(means)), key=means.__getitem__)
    squares = [max(means[best] - m, 1e-3) ** 2 for m in means]
    rivals = [a for a in range(len(means)) if a != best]
    low, high = 0.0, min(squares[a] for a in rivals)
    for _ in range(40):
        y = 0.5 * (low + high)
        if sum((y / max(squares[a] - y, 1e-12)) ** 2 for a in rivals) < 1.0:
            low = y
        else:
            high = y
    weights = [1.0 if a == best else low / max(squares[a] - low, 1e-12) for a in range(len(means))]
    return [w / sum(weights) for w in weights]


class LinUCB(Chooser):
    """Disjoint linear models over (1, segment) with an upper confidence bound (Li et al., WWW 2010)."""

    alpha = 1.0

    def __init__(self, data: Data, gift: Gift) -> None:
        self.gift = gift
        names = sorted(set(data.segments))
        size = len(names) + 1
        self.features: dict[str, NDArray[np.float64]] = {}
        for i, name in enumerate(names):
            self.features[name] = np.zeros(size)
            self.features[name][[0, i + 1]] = 1.0
        self.inverse = np.stack([np.eye(size)] * len(data.variants))
        self.sums = np.zeros((len(data.variants), size))

    def choose(self, segment: str, unit: float) -> int:
        """The arm of the largest upper bound."""
        del unit
        x = self.features[segment]
        leaning = self.inverse @ x
        return int((np.einsum("ij,ij->i", leaning, self.sums) + self.alpha * np.sqrt(leaning @ x)).argmax())

    def take(self, segment: str, variant: int, quality: float | None, cost: float, latency_ms: float) -> None:
        """Update the arm's ridge regression (Sherman & Morrison)."""
        del latency_ms
        if quality is None:
            return
        x = self.features[segment]
        leaning = self.inverse[variant] @ x
        self.inverse[variant] -= np.outer(leaning, leaning) / (1.0 + leaning @ x)
        self.sums[variant] += self.gift.reward(quality, cost) * x
