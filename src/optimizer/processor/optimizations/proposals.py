"""What may be proposed as an optimization, checked before anything is stored."""

import math
import re

import msgspec

from optimizer.model import Bound, Impact, InvalidArgument, ParameterChange
from optimizer.model.optimizations import Strategy

SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
SERVICES = 64
CHANGES = 64
BOUNDS = 16
TEXT = 4_096


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an optimization that its proposer says."""

    strategy: Strategy
    target_services: tuple[str, ...]
    changes: tuple[ParameterChange, ...] = ()
    rationale: str = ""
    expected_impact: Impact | None = None
    constraints: tuple[Bound, ...] = ()
    metadata: dict[str, str] = {}


def check_proposal(proposal: Proposal) -> None:
    """Raise InvalidArgument naming the field. Whether the services exist is asked at validation."""
    _check_targets(proposal.target_services)
    _check_changes(proposal.changes)
    if len(proposal.constraints) > BOUNDS:
        raise InvalidArgument(f"at most {BOUNDS} constraints", field="constraints")
    for i, bound in enumerate(proposal.constraints):
        if not bound.constraint_type or len(bound.constraint_type) > 256 or len(bound.value) > TEXT:
            raise InvalidArgument(f"a constraint has a type and at most {TEXT} characters", field=f"constraints.{i}")
    if len(proposal.rationale) > TEXT:
        raise InvalidArgument(f"at most {TEXT} characters", field="rationale")
    if proposal.expected_impact is not None:
        _check_impact(proposal.expected_impact)


def _check_targets(targets: tuple[str, ...]) -> None:
    if not 1 <= len(targets) <= SERVICES:
        raise InvalidArgument(f"needs 1 to {SERVICES} services", field="target_services")
    for name in targets:
        if not SERVICE.fullmatch(name):
            raise InvalidArgument(f"{name[:128]!r} is no service name", field="target_services")
    if len(set(targets)) != len(targets):
        raise InvalidArgument("a service is named twice", field="target_services")


def _check_changes(changes: tuple[ParameterChange, ...]) -> None:
    if len(changes) > CHANGES:
        raise InvalidArgument(f"at most {CHANGES} changes", field="changes")
    for i, change in enumerate(changes):
        if not 1 <= len(change.parameter) <= 256:
            raise InvalidArgument("a parameter has 1 to 256 characters", field=f"changes.{i}.parameter")
        if max(len(change.old_value), len(change.new_value)) > TEXT:
            raise InvalidArgument(f"at most {TEXT} characters", field=f"changes.{i}")
        if change.change_type != "remove" and not change.new_value:
            raise InvalidArgument("only a removal has no new value", field=f"changes.{i}.new_value")
    names = [change.parameter for change in changes]
    if len(set(names)) != len(names):
        raise InvalidArgument("a parameter is changed twice", field="changes")


def _check_impact(impact: Impact) -> None:
    for name in ("cost_reduction_pct", "quality_delta_pct", "latency_delta_pct", "confidence"):
        value: float | None = getattr(impact, name)
        if value is not None and not math.isfinite(value):
            raise InvalidArgument("is not a finite number", field=f"expected_impact.{name}")
    if impact.confidence is not None and not 0 <= impact.confidence <= 1:
        raise InvalidArgument("lies between 0 and 1", field="expected_impact.confidence")
