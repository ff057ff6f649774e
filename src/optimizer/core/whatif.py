"""What another policy would have earned on the traffic of a log: rows for the off-policy estimators."""

from dataclasses import dataclass, field

import numpy as np

from optimizer.core import records
from optimizer.core.assignment import marginal, parse
from optimizer.core.fold import State
from optimizer.core.offpolicy import Evaluation, Floats, evaluate, read_log
from optimizer.core.replay import Line
from optimizer.model import InvalidArgument, Policy

METRICS = ("quality", "cost_usd", "latency_ms")
LOSSES = frozenset({"cost_usd", "latency_ms"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """Probabilities of variants, for named segments and for all others."""

    service: str
    default: dict[str, float]
    segments: dict[str, dict[str, float]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise InvalidArgument unless every row is a distribution."""
        for name, row in [("default", self.default), *self.segments.items()]:
            if any(not 0.0 <= p <= 1.0 for p in row.values()) or abs(sum(row.values()) - 1.0) > 1e-6:
                raise InvalidArgument(f"the probabilities of {name!r} do not sum to 1", field=name)


class WhatIf:
    """Collects the logged choices of one service with the probabilities that they were made with."""

    def __init__(self, proposal: Proposal) -> None:
        proposal.check()
        self._proposal = proposal
        self._policies: dict[int, Policy] = {}
        self._segments: dict[str, int] = {}
        self._variants: dict[str, int] = {}
        self._rows: dict[str, list[tuple[int, int, float, float]]] = {metric: [] for metric in METRICS}

    def know(self, policy: Policy) -> None:
        """A policy of the service that choices may have been drawn from."""
        self._policies.setdefault(policy.version, policy)

    def see(self, line: Line, _: State) -> None:
        """Take in one record of the log."""
        if line.kind == records.POLICY:
            policy = records.decode_policy(line.payload)
            if policy.service == self._proposal.service:
                self._policies.setdefault(policy.version, policy)
        elif line.kind == records.FEEDBACK:
            event = records.decode_feedback(line.payload)
            if event.service == self._proposal.service and event.assignment_id is not None:
                values = {"quality": event.quality, "cost_usd": event.cost_usd, "latency_ms": event.latency_ms}
                self._add(event.assignment_id, event.variant, {m: float(v) for m, v in values.items() if v is not None})

    def _add(self, assignment_id: str, ran: str | None, values: dict[str, float]) -> None:
        ref = parse(assignment_id)
        policy = self._policies.get(ref.policy_version)
        if policy is None or ref.variant >= len(policy.variants):
            return
        variant = policy.variants[ref.variant]
        if ran not in (None, variant):
            return  # something else ran: the choice says nothing about it
        chance = marginal(policy, policy.rows.get(ref.segment, policy.default), ref.variant)
        segment = self._segments.setdefault(ref.segment, len(self._segments))
        index = self._variants.setdefault(variant, len(self._variants))
        for metric, value in values.items():
            sign = -1.0 if metric in LOSSES else 1.0
            self._rows[metric].append((segment, index, chance, sign * value))

    def evaluate(self, alpha: float = 0.05) -> dict[str, Evaluation]:
        """The estimate for every metric that was logged; cost and latency count as negative rewards."""
        for row in (self._proposal.default, *self._proposal.segments.values()):
            for variant in row:
                self._variants.setdefault(variant, len(self._variants))
        target = self._target()
        return {m: evaluate(read_log(rows), target, alpha) for m, rows in self._rows.items() if len(rows) >= 2}

    def _target(self) -> Floats:
        target = np.zeros((len(self._segments), len(self._variants)))
        for segment, i in self._segments.items():
            for variant, p in self._proposal.segments.get(segment, self._proposal.default).items():
                target[i, self._variants[variant]] = p
        return target
