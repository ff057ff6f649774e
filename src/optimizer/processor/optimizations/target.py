"""Which variant the changes of an optimization lead to: one that is declared, or a new one. Pure."""

from dataclasses import dataclass

from optimizer.core.judge import Guardrail
from optimizer.core.rollout import RolloutSpec
from optimizer.core.rollout.plan import DEFAULT_GUARDRAILS
from optimizer.model import Bound, InvalidArgument, Optimization, ParameterChange, Service, Step
from optimizer.processor.optimizations.evidence import apply_changes, value_of

VARIANT = "variant"
"""The parameter that names a declared variant instead of changing the baseline's configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long the rollouts of deployments take at least and at most; see `RolloutSpec`."""

    stage_min_s: float = 300.0
    stage_min_events: int = 100
    timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A variant of a service; `name` is None when no variant has the configuration yet."""

    name: str | None
    config: dict[str, object]


def baseline_config(service: Service) -> dict[str, object]:
    """The configuration of the baseline."""
    return next(variant.config for variant in service.variants if variant.name == service.baseline)


def names_variant(service: Service, changes: tuple[ParameterChange, ...]) -> bool:
    """Whether the changes name a variant: one change of the parameter "variant", which the baseline does not have."""
    return len(changes) == 1 and changes[0].parameter == VARIANT and VARIANT not in baseline_config(service)


def find_target(service: Service, changes: tuple[ParameterChange, ...]) -> Target:
    """Where the changes lead. Raises InvalidArgument for a variant that the service does not have."""
    if names_variant(service, changes):
        name = str(value_of(changes[0].new_value))
        index = service.index(name)
        if index is None:
            raise InvalidArgument(f"{service.name}: there is no variant {name!r}", field="changes.0.new_value")
        return Target(name, service.variants[index].config)
    wanted = apply_changes(baseline_config(service), changes)
    return Target(next((v.name for v in service.variants if v.config == wanted), None), wanted)


def plan_step(service: Service, found: Optimization, rollout_id: str) -> Step:
    """The rollout that deploys the optimization on the service. Raises InvalidArgument when nothing would change."""
    target = find_target(service, found.changes)
    if target.name == service.baseline:
        raise InvalidArgument(f"{service.name}: the baseline is so already", field="changes")
    added = target.config if target.name is None else None
    candidate = target.name or f"opt-{found.id}"
    return Step(
        service=service.name, rollout_id=rollout_id, baseline=service.baseline, candidate=candidate, config=added
    )


def plan_rollout(step: Step, stages: tuple[float, ...], bounds: tuple[Bound, ...], terms: Terms) -> RolloutSpec:
    """The rollout of a step. Hard limits of the optimization become guardrails beside the usual ones."""
    stated = [rail for bound in bounds if bound.hard and (rail := _guardrail(bound)) is not None]
    metrics = {rail.metric for rail in stated}
    usual = [rail for rail in DEFAULT_GUARDRAILS if rail.metric not in metrics]
    return RolloutSpec(
        service=step.service,
        baseline=step.baseline,
        candidate=step.candidate,
        stages=stages,
        stage_min_s=terms.stage_min_s,
        stage_min_events=terms.stage_min_events,
        guardrails=(*stated, *usual),
        timeout_s=terms.timeout_s,
    )


def _guardrail(bound: Bound) -> Guardrail | None:
    limit = value_of(bound.value)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit < 100:
        return None
    share = limit / 100
    match bound.constraint_type:
        case "max_quality_drop_pct":
            return Guardrail(metric="quality", max_drop_ratio=share)
        case "max_cost_increase_pct":
            return Guardrail(metric="cost_usd", max_increase_ratio=1 + share)
        case "max_latency_increase_pct":
            return Guardrail(metric="latency_ms", max_increase_ratio=1 + share)
    return None
