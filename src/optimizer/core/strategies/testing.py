"""A/B testing: which undecided variant is worth an experiment. The rollout is it, and its judge names the winner.

With more than two arms the allocation says which one is tried next; each is compared with the baseline in its turn,
because a service has one rollout at a time.
"""

from collections.abc import Sequence

from optimizer.core.strategies.knowledge import Belief, Knowledge
from optimizer.core.strategies.values import Allocation, Dice, Idea, StrategySettings

DRAWS = 2_000
"""Posterior draws for the probability of being best: its Monte Carlo error is at most 1.1 %."""
UNKNOWN = Belief(0.0, 0.1)
"""The utility of a variant without evidence: perhaps a tenth better or worse than the baseline."""
DECIDED = 0.05
"""A variant that is better with less than this probability is not tried again."""


def allocate(beliefs: Sequence[Belief], rule: Allocation, epsilon: float, rng: Dice) -> tuple[float, ...]:
    """The shares of the arms, summing to 1.

    fixed: equal. thompson_sampling: the probability of being best, by draws. epsilon_greedy: the best by its mean but
    for `epsilon`, which is spread over all.
    """
    n = len(beliefs)
    if rule == "fixed":
        return (1.0 / n,) * n
    if rule == "epsilon_greedy":
        best = max(range(n), key=lambda i: beliefs[i].mean)
        return tuple(epsilon / n + (1.0 - epsilon if i == best else 0.0) for i in range(n))
    wins = [0] * n
    for _ in range(DRAWS):
        draws = [rng.gauss(belief.mean, belief.sd) for belief in beliefs]
        wins[draws.index(max(draws))] += 1
    return tuple(won / DRAWS for won in wins)


def pick_arms(known: Knowledge, settings: StrategySettings, rng: Dice) -> list[Idea]:
    """The arms worth an experiment, the largest allocation first: those that may be better, and may not."""
    base, arms = known.service.baseline, list[tuple[str, Belief, bool]]()
    for variant in known.candidates:
        utility = known.utility(variant.name, settings.weights)
        belief = UNKNOWN if utility is None or known.calls(variant.name) < settings.caution.min_calls else utility
        if DECIDED <= belief.above(0.0) < settings.caution.min_confidence:
            arms.append((variant.name, belief, belief is not UNKNOWN))
    if not arms or known.calls(base) < settings.caution.min_calls:
        return []
    shares = allocate([Belief(0.0, 0.0), *(b for _, b, _ in arms)], settings.allocation, settings.epsilon, rng)[1:]
    order = sorted(range(len(arms)), key=lambda i: (-shares[i], arms[i][0]))
    return [_idea(known, arms[i], shares[i], settings) for i in order]


def _idea(known: Knowledge, arm: tuple[str, Belief, bool], share: float, settings: StrategySettings) -> Idea:
    name, belief, measured = arm
    chance = belief.above(0.0)
    what = f"better with probability {chance:.2f} by now" if measured else "too little is known of it"
    return Idea(
        strategy="ab_testing",
        service=known.service.name,
        candidate=name,
        config=known.config(name),
        rationale=(
            f"experiment {name!r} against {known.service.baseline!r}: {what}; "
            f"{settings.allocation} gives it {share:.0%}"
        ),
        impact=known.impact(name, chance if measured else None),
        gain=belief.mean if measured else None,
        confidence=chance if measured else None,
        checked=("the rollout's guardrails decide",),
    )
