"""Optimizations: proposed changes to services, and what they should do and did. The contract's OptimizationDecision."""

from typing import Literal

import msgspec

Strategy = Literal[
    "ab_testing",
    "reinforcement_feedback",
    "cost_performance_scoring",
    "adaptive_parameter_tuning",
    "threshold_based",
    "hybrid",
]
ChangeType = Literal["replace", "add", "remove", "update"]
Status = Literal[
    "pending",
    "validating",
    "validation_failed",
    "deploying",
    "deployed",
    "deployment_failed",
    "monitoring",
    "rolled_back",
    "completed",
    "cancelled",
]


class ParameterChange(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a configuration. Values are JSON texts, or plain text that is no JSON; "" says nothing."""

    parameter: str
    old_value: str = ""
    new_value: str = ""
    change_type: ChangeType = "replace"


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """Expected effect in percent of now (a cost reduction is positive when cheaper). None is not known.

    `confidence` (0..1) belongs to the direction of the effect on quality.
    """

    cost_reduction_pct: float | None = None
    quality_delta_pct: float | None = None
    latency_delta_pct: float | None = None
    confidence: float | None = None


class MeasuredImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployed optimization did, over the calls between the two moments (microseconds since 1970 UTC)."""

    measured_from: int
    measured_until: int
    requests_affected: int
    cost_reduction_pct: float | None = None
    quality_delta_pct: float | None = None
    latency_delta_pct: float | None = None


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that the optimization has to keep; `value` is a JSON text. `hard`: breaking it makes it invalid."""

    constraint_type: str
    value: str
    hard: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment does to one service: a rollout of `candidate` against `baseline`.

    `config` is the candidate's configuration when the deployment adds it to the declaration, else None.
    """

    service: str
    rollout_id: str
    baseline: str
    candidate: str
    config: dict[str, object] | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked of a deployment, kept before it is carried out."""

    action: Literal["rollback", "cancel"]
    by: str
    reason: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """How an optimization is deployed; kept before anything happens, so that a restart goes on where it stopped.

    `stages` are percentages of the traffic. `forced`: the evidence spoke against it and was overruled. `progress` is
    the last thing told about it.
    """

    steps: tuple[Step, ...]
    stages: tuple[float, ...]
    by: str
    requested_at: int
    forced: bool = False
    wish: Wish | None = None
    progress: str = ""


class Optimization(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed change. `revision` is the version of its document: it rises at every change."""

    id: str
    created_at: int
    strategy: Strategy
    target_services: tuple[str, ...]
    changes: tuple[ParameterChange, ...] = ()
    rationale: str = ""
    expected_impact: Impact | None = None
    constraints: tuple[Bound, ...] = ()
    status: Status = "pending"
    deployed_at: int | None = None
    rolled_back_at: int | None = None
    actual_impact: MeasuredImpact | None = None
    metadata: dict[str, str] = {}
    deployment: Deployment | None = None
