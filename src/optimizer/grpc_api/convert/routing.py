"""Services, decisions, reports and policies between the domain and our own protos."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from optimizer.core.declaration import check
from optimizer.grpc_api.convert.plain import from_struct, to_struct
from optimizer.grpc_api.convert.times import to_time
from optimizer.grpc_api.pb import routing_pb2 as pb
from optimizer.model import Constraint, InvalidArgument, Objective, Policy, Reason, Service, Variant
from optimizer.model.services import Goal, Metric, Mode

GOALS: dict[pb.Goal, Goal] = {
    pb.GOAL_MINIMIZE_COST: "minimize_cost",
    pb.GOAL_MINIMIZE_LATENCY: "minimize_latency",
    pb.GOAL_MAXIMIZE_QUALITY: "maximize_quality",
    pb.GOAL_WEIGHTED: "weighted",
}
MODES: dict[pb.Mode, Mode] = {pb.MODE_UNSPECIFIED: "learn", pb.MODE_LEARN: "learn", pb.MODE_FIXED: "fixed"}
METRICS: dict[str, Metric] = {m: m for m in ("quality", "cost_usd", "latency_ms", "error_rate")}
REASONS: dict[Reason, pb.Reason] = {
    "exploit": pb.REASON_EXPLOIT,
    "explore": pb.REASON_EXPLORE,
    "holdout": pb.REASON_HOLDOUT,
    "rollout": pb.REASON_ROLLOUT,
    "fixed": pb.REASON_FIXED,
    "fallback": pb.REASON_FALLBACK,
}
_GOAL_NUMBERS = {word: number for number, word in GOALS.items()}
_MODE_NUMBERS: dict[Mode, pb.Mode] = {"learn": pb.MODE_LEARN, "fixed": pb.MODE_FIXED}


def from_service(message: pb.Service) -> Service:
    """The declaration, checked. Raises InvalidArgument naming the field."""
    goal = GOALS.get(message.objective.goal)
    if goal is None:
        raise InvalidArgument("say what to optimise for", field="objective.goal")
    if message.mode not in MODES:
        raise InvalidArgument("unknown mode", field="mode")
    service = Service(
        name=message.name,
        objective=Objective(
            goal=goal,
            weights=dict(message.objective.weights),
            constraints=tuple(_from_constraint(c, i) for i, c in enumerate(message.objective.constraints)),
        ),
        variants=tuple(Variant(name=v.name, config=from_struct(v.config)) for v in message.variants),
        baseline=message.baseline,
        mode=MODES[message.mode],
        segment_by=tuple(message.segment_by),
        holdout=message.holdout,
        lease_s=message.lease_s if message.HasField("lease_s") else 300.0,
    )
    check(service)
    return service


def to_service(service: Service) -> pb.Service:
    """The declaration on the wire."""
    objective = service.objective
    return pb.Service(
        name=service.name,
        objective=pb.Objective(
            goal=_GOAL_NUMBERS[objective.goal],
            weights=objective.weights,
            constraints=[_to_constraint(constraint) for constraint in objective.constraints],
        ),
        variants=[pb.Variant(name=v.name, config=to_struct(v.config)) for v in service.variants],
        baseline=service.baseline,
        mode=_MODE_NUMBERS[service.mode],
        segment_by=service.segment_by,
        holdout=service.holdout,
        lease_s=service.lease_s,
    )


def to_policy(policy: Policy) -> pb.Policy:
    """A policy on the wire."""

    def row(found: Any) -> pb.SegmentProbabilities:
        return pb.SegmentProbabilities(probabilities=found.probabilities, exploit=found.exploit)

    return pb.Policy(
        version=policy.version,
        variants=policy.variants,
        baseline=policy.variants[policy.baseline],
        default=row(policy.default),
        rows={segment: row(found) for segment, found in policy.rows.items()},
        holdout=policy.holdout,
        created_at=to_time(policy.created_at),
    )


def to_explanation(assignment_id: str, found: Mapping[str, Any], lease_s: float | None) -> pb.ExplainAssignmentResponse:
    """What `Registry.explain` says, on the wire. Times there are milliseconds."""
    decided = int(found["decided_at"]) * 1_000
    return pb.ExplainAssignmentResponse(
        service=found["service"],
        assignment_id=assignment_id,
        segment=found["segment"],
        variant=found["variant"],
        probability=found["probability"],
        reason=REASONS[found["reason"]],
        candidates=[
            pb.Candidate(variant=c["variant"], probability=c["probability"], exploit=c["exploit"])
            for c in found["candidates"]
        ],
        policy_version=found["policy_version"],
        decided_at=to_time(decided),
        expires_at=to_time(None if lease_s is None else decided + int(lease_s * 1_000_000)),
        policy_cursor=found["policy_cursor"],
        evidence=to_struct(found),
    )


def _from_constraint(message: pb.Constraint, index: int) -> Constraint:
    where = f"objective.constraints.{index}"
    metric = METRICS.get(message.metric)
    if metric is None:
        raise InvalidArgument(f"metrics are {', '.join(METRICS)}", field=f"{where}.metric")

    def optional(name: str) -> float | None:
        value: float | None = getattr(message, name) if message.HasField(name) else None
        return value

    max_mean = None
    if message.HasField("max_mean"):
        try:
            max_mean = Decimal(message.max_mean)
        except InvalidOperation as error:
            raise InvalidArgument("expected a decimal number as text", field=f"{where}.max_mean") from error
    return Constraint(
        metric=metric,
        min_ratio_to_best=optional("min_ratio_to_best"),
        min=optional("min"),
        max_mean=max_mean,
        quantile=optional("quantile"),
        max=optional("max"),
    )


def _to_constraint(constraint: Constraint) -> pb.Constraint:
    return pb.Constraint(
        metric=constraint.metric,
        min_ratio_to_best=constraint.min_ratio_to_best,
        min=constraint.min,
        max_mean=None if constraint.max_mean is None else format(constraint.max_mean, "f"),
        quantile=constraint.quantile,
        max=constraint.max,
    )
