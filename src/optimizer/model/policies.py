"""Policies and assignments: which variant a segment gets with which probability, and the recorded choice."""

from typing import Literal

import msgspec

Reason = Literal["exploit", "explore", "holdout", "rollout", "fixed", "fallback"]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One segment's probabilities over the service's variants (in declaration order, summing to 1).

    `exploit` marks the variants that the current solution uses; any other choice is exploration.
    """

    probabilities: tuple[float, ...]
    exploit: tuple[bool, ...]


class Split(msgspec.Struct, frozen=True, array_like=True):
    """A rollout's part of the traffic: `share` (0..1) of the calls outside the holdout get the candidate.

    `candidate` is its index among the policy's variants; who is in follows from the place of the key under `salt`.
    """

    rollout_id: str
    candidate: int
    share: float
    salt: str


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Segment to probabilities, versioned; computed from the log up to `cursor` with `seed`, so it can be recomputed.

    `default` serves segments that have no row. `holdout` of the traffic stays on the baseline whatever the rows say.
    `stale` are the (segment, variant) cells whose evidence is forgotten when the policy comes into force: they changed.
    `split` is the rollout under way, which comes before the rows.
    """

    service: str
    version: int
    cursor: int
    seed: int
    created_at: int
    variants: tuple[str, ...]
    baseline: int
    default: Row
    rows: dict[str, Row] = {}
    holdout: float = 0.0
    mode: str = "learn"
    stale: tuple[tuple[str, str], ...] = ()
    split: Split | None = None


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded choice with its probability: P(variant | segment, policy version), holdout included."""

    assignment_id: str
    service: str
    segment: str
    variant: str
    probability: float
    policy_version: int
    reason: Reason
    decided_at: int
    expires_at: int
