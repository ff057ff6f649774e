"""Rollouts between the domain and our proto."""

from typing import Any

from optimizer.core.judge import Guardrail, Verdict, verdicts
from optimizer.core.judge import segment_verdicts as segments_of
from optimizer.core.rollout import Rollout, RolloutSpec
from optimizer.core.rollout.explain import waiting_for
from optimizer.core.rollout.plan import DEFAULT_GUARDRAILS, DEFAULT_STAGES
from optimizer.core.rollout.state import Transition
from optimizer.grpc_api.convert.times import to_time
from optimizer.grpc_api.pb import rollouts_pb2 as pb

STATUSES: dict[str, pb.RolloutStatus] = {
    "running": pb.ROLLOUT_STATUS_RUNNING,
    "promoted": pb.ROLLOUT_STATUS_PROMOTED,
    "rolled_back": pb.ROLLOUT_STATUS_ROLLED_BACK,
    "inconclusive": pb.ROLLOUT_STATUS_INCONCLUSIVE,
    "paused": pb.ROLLOUT_STATUS_PAUSED,
    "cancelled": pb.ROLLOUT_STATUS_CANCELLED,
}
VERDICTS: dict[str, pb.VerdictKind] = {
    "better": pb.VERDICT_KIND_BETTER,
    "worse": pb.VERDICT_KIND_WORSE,
    "equivalent": pb.VERDICT_KIND_EQUIVALENT,
    "inconclusive": pb.VERDICT_KIND_INCONCLUSIVE,
}
BOUNDS = (
    "max_drop", "max_increase", "quantile", "max", "max_drop_ratio", "max_increase_ratio", "max_shift", "min",
    "max_mean", "upper",
)  # fmt: skip


def from_start(request: pb.StartRolloutRequest, baseline: str) -> RolloutSpec:
    """What is asked for; the machine checks it."""
    timeout = request.timeout_s if request.HasField("timeout_s") else 3600.0
    return RolloutSpec(
        service=request.service,
        baseline=baseline,
        candidate=request.candidate,
        stages=tuple(request.stages) or DEFAULT_STAGES,
        stage_min_s=request.stage_min_s if request.HasField("stage_min_s") else 300.0,
        stage_min_events=request.stage_min_events if request.HasField("stage_min_events") else 100,
        guardrails=tuple(_from_guardrail(each) for each in request.guardrails) or DEFAULT_GUARDRAILS,
        alpha=request.alpha if request.HasField("alpha") else 0.05,
        max_events=request.max_events if request.HasField("max_events") else None,
        timeout_s=timeout or None,
        auto=request.auto if request.HasField("auto") else True,
        auto_rollback=request.auto_rollback if request.HasField("auto_rollback") else True,
        by_segment=request.by_segment,
    )


def to_rollout(rollout: Rollout, now: int) -> pb.Rollout:
    """The rollout on the wire."""
    spec = rollout.spec
    return pb.Rollout(
        id=rollout.id,
        service=spec.service,
        candidate=spec.candidate,
        baseline=spec.baseline,
        status=STATUSES[rollout.status],
        stage=rollout.stage,
        stages=spec.stages,
        guardrails=[_to_guardrail(each) for each in spec.guardrails],
        alpha=spec.alpha,
        auto=spec.auto,
        awaiting_approval=rollout.awaiting is not None,
        verdicts=to_verdicts(rollout),
        history=[_to_history(entry) for entry in rollout.history],
        started_at=to_time(rollout.created_at),
        ended_at=to_time(rollout.finished_at),
        stage_min_s=spec.stage_min_s,
        stage_min_events=spec.stage_min_events,
        max_events=spec.max_events,
        share=rollout.share,
        waiting_for=waiting_for(rollout, now) or "",
        baseline_calls=rollout.calls[0],
        candidate_calls=rollout.calls[1],
    )


def to_verdicts(rollout: Rollout) -> list[pb.Verdict]:
    """What the tests say now, over all segments and then for each."""
    return [_to_verdict(each) for each in (*verdicts(rollout.judge), *segments_of(rollout.judge))]


def _to_verdict(verdict: Verdict) -> pb.Verdict:
    low, high = verdict.interval
    return pb.Verdict(
        metric=verdict.metric,
        verdict=VERDICTS.get(verdict.verdict, pb.VERDICT_KIND_UNSPECIFIED),
        effect=verdict.effect,
        low=low,
        high=high,
        events=verdict.events,
        bound=verdict.bound,
        limit=verdict.limit,
        segment=verdict.segment,
        notes=verdict.notes,
        kept=verdict.kept,
    )


def _to_history(entry: Transition) -> pb.HistoryEntry:
    return pb.HistoryEntry(
        timestamp=to_time(entry.at),
        event=entry.event,
        stage=entry.stage,
        reason=entry.reason,
        actor=entry.actor,
        status=STATUSES[entry.status],
        share=entry.share,
    )


def _from_guardrail(message: pb.Guardrail) -> Guardrail:
    bounds: dict[str, Any] = {name: getattr(message, name) for name in BOUNDS if message.HasField(name)}
    return Guardrail(metric=message.metric, **bounds)


def _to_guardrail(guardrail: Guardrail) -> pb.Guardrail:
    return pb.Guardrail(metric=guardrail.metric, **{name: getattr(guardrail, name) for name in BOUNDS})
