"""All strategies together, and which one of their ideas goes on: one change at a time for each service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.core.learning import Evidence
from optimizer.core.sketch import QuantileSketch
from optimizer.core.strategies.knowledge import Knowledge
from optimizer.core.strategies.reinforcement import reinforce
from optimizer.core.strategies.scoring import score
from optimizer.core.strategies.testing import pick_arms
from optimizer.core.strategies.thresholds import react
from optimizer.core.strategies.tuning import tune
from optimizer.core.strategies.values import Dice, Idea, StrategySettings
from optimizer.model import Service
from optimizer.model.optimizations import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that strategies may look at. `tried` are configurations that were proposed for the service lately."""

    service: Service
    evidence: Mapping[tuple[str, str], Evidence]
    latency: Mapping[str, QuantileSketch]
    tried: Sequence[dict[str, object]] = ()


def propose(situation: Situation, enabled: Sequence[Strategy], settings: StrategySettings, rng: Dice) -> list[Idea]:
    """The ideas of the enabled strategies, the one to go on with first; what was tried lately is left out.

    A broken limit goes before everything, what is measured before what has to be found out, and among the measured
    the largest product of gain and confidence. "hybrid" stands for all of them.
    """
    known = Knowledge(situation.service, situation.evidence)
    every = "hybrid" in enabled
    ideas: list[Idea] = []
    if every or "threshold_based" in enabled:
        ideas += react(known, situation.latency, settings)
    if every or "cost_performance_scoring" in enabled:
        ideas += score(known, settings)
    if every or "reinforcement_feedback" in enabled:
        ideas += reinforce(known, situation.evidence, settings)
    if every or "ab_testing" in enabled:
        ideas += pick_arms(known, settings, rng)
    if every or "adaptive_parameter_tuning" in enabled:
        ideas += tune(known, situation.tried, settings)
    baseline = known.config(situation.service.baseline)
    fresh = [idea for idea in ideas if idea.config not in situation.tried and idea.config != baseline]
    return sorted(fresh, key=_rank)


ORDER: tuple[Strategy, ...] = (
    "threshold_based",
    "cost_performance_scoring",
    "reinforcement_feedback",
    "ab_testing",
    "adaptive_parameter_tuning",
)


def _rank(idea: Idea) -> tuple[bool, int, float]:
    explores = idea.strategy in ("ab_testing", "adaptive_parameter_tuning")
    worth = (idea.gain or 0.0) * (idea.confidence or 0.0)
    return not idea.urgent, ORDER.index(idea.strategy) if explores else 0, 0.0 if explores else -worth
