"""Reinforcement feedback: what the learning policy has come to prefer, made the baseline.

The contextual learning itself (propensities, delayed rewards, decay, constraints) is `optimizer.core.learning`; this
is its view as a proposal, which matters where the service is in mode `fixed`, and for the baseline that the holdout
and unknown segments are served.
"""

from collections.abc import Mapping

import numpy as np

from optimizer.core.learning import Evidence, learn
from optimizer.core.learning.tables import tabulate
from optimizer.core.strategies.knowledge import Knowledge
from optimizer.core.strategies.safety import check_safety
from optimizer.core.strategies.values import Idea, StrategySettings

PREFERRED = 0.6
"""The share of traffic that the policy has to give one variant before it is called preferred."""


def reinforce(known: Knowledge, evidence: Mapping[tuple[str, str], Evidence], settings: StrategySettings) -> list[Idea]:
    """The variant that a learnt policy gives most traffic, when it is not the baseline and safe for everybody."""
    service, caution = known.service, settings.caution
    if len(service.variants) < 2 or not evidence:
        return []
    tables = tabulate(service, evidence)
    rows = learn(service, evidence).rows
    shares = np.zeros(len(service.variants))
    for segment, part in zip(tables.segments, tables.share, strict=False):
        shares += part * np.asarray(rows[segment].probabilities)
    best = int(shares.argmax())
    name = service.variants[best].name
    utility = None if name == service.baseline else known.utility(name, settings.weights)
    if utility is None or shares[best] < PREFERRED or known.calls(name) < caution.min_calls:
        return []
    safe, checked = check_safety(known, name, caution)
    confidence = utility.above(0.0)
    if not safe or confidence < caution.min_confidence:
        return []
    return [
        Idea(
            strategy="reinforcement_feedback",
            service=service.name,
            candidate=name,
            config=known.config(name),
            rationale=f"the learnt policy gives {name!r} {shares[best]:.0%} of the traffic inside all constraints",
            impact=known.impact(name, confidence),
            gain=utility.mean,
            confidence=confidence,
            checked=checked,
        )
    ]
