"""Optimizations between the domain and the contract's OptimizationDecision."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from optimizer.grpc_api.convert.times import to_time
from optimizer.grpc_api.pb import optimization_pb2 as pb
from optimizer.grpc_api.pb.common_pb2 import ErrorDetail
from optimizer.model import (
    Bound,
    Impact,
    InvalidArgument,
    MeasuredImpact,
    Optimization,
    OptimizationChange,
    ParameterChange,
)
from optimizer.model.optimizations import ChangeType, Status, Strategy
from optimizer.processor.optimizations import Finding, Proposal, Validation

STRATEGIES: dict[pb.OptimizationStrategy, Strategy] = {
    pb.OPTIMIZATION_STRATEGY_AB_TESTING: "ab_testing",
    pb.OPTIMIZATION_STRATEGY_REINFORCEMENT_FEEDBACK: "reinforcement_feedback",
    pb.OPTIMIZATION_STRATEGY_COST_PERFORMANCE_SCORING: "cost_performance_scoring",
    pb.OPTIMIZATION_STRATEGY_ADAPTIVE_PARAMETER_TUNING: "adaptive_parameter_tuning",
    pb.OPTIMIZATION_STRATEGY_THRESHOLD_BASED: "threshold_based",
    pb.OPTIMIZATION_STRATEGY_HYBRID: "hybrid",
}
STATUSES: dict[pb.DecisionStatus, Status] = {
    pb.DECISION_STATUS_PENDING: "pending",
    pb.DECISION_STATUS_VALIDATING: "validating",
    pb.DECISION_STATUS_VALIDATION_FAILED: "validation_failed",
    pb.DECISION_STATUS_DEPLOYING: "deploying",
    pb.DECISION_STATUS_DEPLOYED: "deployed",
    pb.DECISION_STATUS_DEPLOYMENT_FAILED: "deployment_failed",
    pb.DECISION_STATUS_MONITORING: "monitoring",
    pb.DECISION_STATUS_ROLLED_BACK: "rolled_back",
    pb.DECISION_STATUS_COMPLETED: "completed",
    pb.DECISION_STATUS_CANCELLED: "cancelled",
}
CHANGE_TYPES: dict[pb.ChangeType, ChangeType] = {
    pb.CHANGE_TYPE_REPLACE: "replace",
    pb.CHANGE_TYPE_ADD: "add",
    pb.CHANGE_TYPE_REMOVE: "remove",
    pb.CHANGE_TYPE_UPDATE: "update",
}
_STRATEGY_NUMBERS = {word: number for number, word in STRATEGIES.items()}
_STATUS_NUMBERS = {word: number for number, word in STATUSES.items()}
_CHANGE_NUMBERS = {word: number for number, word in CHANGE_TYPES.items()}
UNKNOWN = float("nan")
N = TypeVar("N", bound=int)


def from_create(request: pb.CreateOptimizationRequest) -> Proposal:
    """The proposal. Raises InvalidArgument for numbers that are no enum value, or not specified."""
    strategy = STRATEGIES.get(request.strategy)
    if strategy is None:
        raise InvalidArgument("say which strategy", field="strategy")
    return Proposal(
        strategy=strategy,
        target_services=tuple(request.target_services),
        changes=tuple(_from_change(change, i) for i, change in enumerate(request.changes)),
        rationale=request.rationale,
        expected_impact=_from_impact(request.expected_impact) if request.HasField("expected_impact") else None,
        constraints=tuple(
            Bound(constraint_type=c.constraint_type, value=c.value, hard=c.hard) for c in request.constraints
        ),
    )


def from_filter(numbers: Iterable[N], known: Mapping[N, str], field: str) -> frozenset[str]:
    """The words of a filter. Raises InvalidArgument for a number that is no value, so that no filter is ignored."""
    words: set[str] = set()
    for number in numbers:
        word = known.get(number)
        if word is None:
            raise InvalidArgument(f"{number} is not a value to filter by", field=field)
        words.add(word)
    return frozenset(words)


def to_decision(found: Optimization) -> pb.OptimizationDecision:
    """The optimization on the wire."""
    return pb.OptimizationDecision(
        id=found.id,
        created_at=to_time(found.created_at),
        strategy=_STRATEGY_NUMBERS[found.strategy],
        target_services=found.target_services,
        changes=[_to_change(change) for change in found.changes],
        rationale=found.rationale,
        expected_impact=to_impact(found.expected_impact),
        constraints=[
            pb.Constraint(constraint_type=b.constraint_type, value=b.value, hard=b.hard) for b in found.constraints
        ],
        status=_STATUS_NUMBERS[found.status],
        deployed_at=to_time(found.deployed_at),
        rolled_back_at=to_time(found.rolled_back_at),
        actual_impact=_to_actual(found.actual_impact),
        metadata=found.metadata,
    )


def to_suggested(proposal: Proposal) -> pb.OptimizationDecision:
    """A proposal that is not stored: without id, time and status."""
    return pb.OptimizationDecision(
        strategy=_STRATEGY_NUMBERS[proposal.strategy],
        target_services=proposal.target_services,
        changes=[_to_change(change) for change in proposal.changes],
        rationale=proposal.rationale,
        expected_impact=to_impact(proposal.expected_impact),
        metadata=proposal.metadata,
    )


def to_impact(impact: Impact | None) -> pb.ExpectedImpact | None:
    """The expected impact; what is not known is NaN."""
    if impact is None:
        return None
    return pb.ExpectedImpact(
        cost_reduction_pct=_or_nan(impact.cost_reduction_pct),
        quality_delta_pct=_or_nan(impact.quality_delta_pct),
        latency_delta_pct=_or_nan(impact.latency_delta_pct),
        confidence=_or_nan(impact.confidence),
    )


def to_event(change: OptimizationChange) -> pb.OptimizationEvent:
    """A change of an optimization on the wire."""
    return pb.OptimizationEvent(
        decision_id=change.optimization.id,
        status=_STATUS_NUMBERS[change.optimization.status],
        message=change.message,
        timestamp=to_time(change.at),
        metadata={"target_services": ",".join(change.optimization.target_services)},
    )


def to_validation(validation: Validation) -> pb.ValidationResult:
    """What validation found, on the wire."""
    return pb.ValidationResult(
        valid=validation.valid,
        errors=[_to_error(finding) for finding in validation.errors],
        warnings=validation.warnings,
        revised_impact=to_impact(validation.revised_impact),
    )


def _to_error(finding: Finding) -> ErrorDetail:
    return ErrorDetail(code=finding.code, message=finding.message, field=finding.field)


def _from_change(change: pb.ConfigurationChange, index: int) -> ParameterChange:
    kind = CHANGE_TYPES.get(change.change_type)
    if kind is None:
        raise InvalidArgument("say which type of change", field=f"changes.{index}.change_type")
    return ParameterChange(
        parameter=change.parameter, old_value=change.old_value, new_value=change.new_value, change_type=kind
    )


def _to_change(change: ParameterChange) -> pb.ConfigurationChange:
    return pb.ConfigurationChange(
        parameter=change.parameter,
        old_value=change.old_value,
        new_value=change.new_value,
        change_type=_CHANGE_NUMBERS[change.change_type],
    )


def _from_impact(impact: pb.ExpectedImpact) -> Impact:
    return Impact(
        cost_reduction_pct=_or_none(impact.cost_reduction_pct),
        quality_delta_pct=_or_none(impact.quality_delta_pct),
        latency_delta_pct=_or_none(impact.latency_delta_pct),
        confidence=_or_none(impact.confidence),
    )


def _to_actual(impact: MeasuredImpact | None) -> pb.ActualImpact | None:
    if impact is None:
        return None
    return pb.ActualImpact(
        cost_reduction_pct=_or_nan(impact.cost_reduction_pct),
        quality_delta_pct=_or_nan(impact.quality_delta_pct),
        latency_delta_pct=_or_nan(impact.latency_delta_pct),
        requests_affected=impact.requests_affected,
        measured_from=to_time(impact.measured_from),
        measured_until=to_time(impact.measured_until),
    )


def _or_nan(value: float | None) -> float:
    return UNKNOWN if value is None else value


def _or_none(value: float) -> float | None:
    return None if value != value else value
