"""What strategies are told and what they propose."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from optimizer.model import Impact
from optimizer.model.optimizations import Strategy

Profile = Literal["conservative", "balanced", "aggressive"]
Preset = Literal["cost_optimized", "balanced", "quality_optimized"]
Allocation = Literal["fixed", "thompson_sampling", "epsilon_greedy"]

WEIGHTS: dict[Preset, tuple[float, float, float]] = {
    "cost_optimized": (0.2, 0.7, 0.1),
    "balanced": (0.5, 0.3, 0.2),
    "quality_optimized": (0.8, 0.1, 0.1),
}
"""Quality, cost, latency: the presets of the contract (3b)."""


class Dice(Protocol):
    """The caller's random generator, such as `random.Random`."""

    def gauss(self, mu: float, sigma: float) -> float:
        """A draw of a normal distribution."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """How sure a proposal has to be. `min_calls` of a variant before it is judged; `max_quality_drop` is a share of
    the baseline's quality that may be lost for the sake of something else.
    """

    min_confidence: float
    min_calls: int
    max_quality_drop: float


CAUTION: dict[Profile, Caution] = {
    "conservative": Caution(min_confidence=0.95, min_calls=200, max_quality_drop=0.01),
    "balanced": Caution(min_confidence=0.9, min_calls=100, max_quality_drop=0.03),
    "aggressive": Caution(min_confidence=0.8, min_calls=30, max_quality_drop=0.05),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a baseline may not do; the contract's (3b). Latency in milliseconds, money in dollars, shares of 1."""

    latency_p95_ms: float = 5_000.0
    error_rate: float = 0.05
    cost_per_request: float = 0.10
    quality_min: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySettings:
    """How the strategies go about it."""

    caution: Caution = CAUTION["balanced"]
    weights: tuple[float, float, float] = WEIGHTS["balanced"]
    thresholds: Thresholds = field(default_factory=Thresholds)
    allocation: Allocation = "thompson_sampling"
    epsilon: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """One proposed change of one service: serve `config` (of the variant `candidate`, None: of a new one) to all.

    `gain` is the expected weighted improvement as a share of the baseline (None where nothing is measured yet), and
    `confidence` the posterior probability that it is above 0. `checked` says which constraints were held against it.
    """

    strategy: Strategy
    service: str
    candidate: str | None
    config: dict[str, object]
    rationale: str
    impact: Impact
    gain: float | None
    confidence: float | None
    checked: tuple[str, ...] = ()
    urgent: bool = False
