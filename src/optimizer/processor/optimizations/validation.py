"""Validation: whether an optimization fits the services as declared, and what the evidence says about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.model import Bound, Impact, InvalidArgument, Optimization, ParameterChange, Service
from optimizer.processor.optimizations.evidence import VariantRecord, compare, value_of
from optimizer.processor.optimizations.target import baseline_config, find_target, names_variant

FEW = 30
"""Calls of a variant below which its averages are said to be weak evidence."""

CONSTRAINTS = {
    "max_quality_drop_pct": "quality_delta_pct",
    "max_cost_increase_pct": "cost_reduction_pct",
    "max_latency_increase_pct": "latency_delta_pct",
}
"""Constraint types that are checked here, and the value of the impact that each is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, and where."""

    code: str
    message: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """`valid` exactly when there are no errors. `revised_impact` is what the evidence says, None without evidence."""

    errors: tuple[Finding, ...]
    warnings: tuple[str, ...]
    revised_impact: Impact | None

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.errors


def validate(
    optimization: Optimization,
    services: Mapping[str, Service],
    records: Mapping[str, Mapping[str, VariantRecord]],
) -> Validation:
    """Check an optimization against the declared services and the records of their variants, both by service name."""
    errors: list[Finding] = []
    warnings: list[str] = []
    impacts: list[Impact] = []
    if not optimization.changes:
        errors.append(Finding(code="NO_CHANGES", message="nothing would change", field="changes"))
    for name in optimization.target_services:
        service = services.get(name)
        if service is None:
            errors.append(
                Finding(code="NOT_FOUND", message=f"service {name!r} is not declared", field="target_services")
            )
            continue
        errors += _check_changes(optimization.changes, service)
        impact = _impact(optimization, service, records.get(name, {}), warnings)
        if impact is not None:
            impacts.append(impact)
    revised = impacts[0] if len(impacts) == 1 == len(optimization.target_services) else None
    for i, bound in enumerate(optimization.constraints):
        problem = _breach(bound, impacts, warnings)
        if problem and bound.hard:
            errors.append(Finding(code="CONSTRAINT", message=problem, field=f"constraints.{i}"))
        elif problem:
            warnings.append(problem)
    return Validation(errors=tuple(errors), warnings=tuple(warnings), revised_impact=revised)


def _check_changes(changes: tuple[ParameterChange, ...], service: Service) -> list[Finding]:
    if names_variant(service, changes):
        try:
            find_target(service, changes)
        except InvalidArgument as error:
            return [Finding(code="NOT_FOUND", message=str(error), field="changes.0.new_value")]
        return []
    config = baseline_config(service)
    found: list[Finding] = []
    for i, change in enumerate(changes):
        where, present = f"changes.{i}", change.parameter in config
        if change.change_type == "add" and present:
            message = f"{service.name}: {change.parameter!r} is set already"
        elif change.change_type != "add" and not present:
            message = f"{service.name}: the baseline has no parameter {change.parameter!r}"
        elif present and change.old_value and value_of(change.old_value) != config[change.parameter]:
            message = f"{service.name}: {change.parameter!r} has another value now than old_value says"
        else:
            continue
        found.append(Finding(code="FAILED_PRECONDITION", message=message, field=where))
    return found


def _impact(
    optimization: Optimization, service: Service, records: Mapping[str, VariantRecord], warnings: list[str]
) -> Impact | None:
    try:
        variant = find_target(service, optimization.changes).name
    except InvalidArgument:
        return None  # said among the errors
    if variant is None:
        warnings.append(f"{service.name}: no variant has this configuration yet, so there is no evidence about it")
        return None
    candidate, baseline = records.get(variant), records.get(service.baseline)
    if candidate is None or baseline is None or not candidate.calls or not baseline.calls:
        warnings.append(f"{service.name}: no calls of both {variant!r} and the baseline were recorded yet")
        return None
    if min(candidate.calls, baseline.calls) < FEW:
        fewest = min(candidate.calls, baseline.calls)
        warnings.append(f"{service.name}: weak evidence, one side has {fewest} calls")
    return compare(candidate, baseline)


def _breach(bound: Bound, impacts: list[Impact], warnings: list[str]) -> str | None:
    """How the evidence breaks the bound, None when it does not or nothing is known."""
    limit = value_of(bound.value)
    if bound.constraint_type not in CONSTRAINTS:
        warnings.append(f"constraint {bound.constraint_type!r} is kept on record, but not checked here")
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return f"constraint {bound.constraint_type!r} needs a number, not {bound.value!r}"
    name = CONSTRAINTS[bound.constraint_type]
    for impact in impacts:
        value: float | None = getattr(impact, name)
        # A cost reduction and a quality gain are good when positive, a latency increase is not.
        worse = None if value is None else (value if name == "latency_delta_pct" else -value)
        if worse is not None and worse > limit:
            return f"{bound.constraint_type}: the evidence says {worse:.2f} %, the limit is {limit:g} %"
    return None
