"""Why an optimization was proposed, how its deployment went, and what is known about it now."""

import msgspec

from optimizer.model import Optimization
from optimizer.processor.optimizations import validate
from optimizer.processor.optimizations.evidence import records_of
from optimizer.processor.registry import Registry


def explain(found: Optimization, registry: Registry) -> dict[str, object]:
    """`explanation` in words; `evidence`: the proposal as stored, the records of the variants now, and what
    validation would say now.
    """
    services = {service.name: service for service in registry.list()}
    records = {name: records_of(registry.report(name)) for name in found.target_services if name in services}
    outcome = validate(found, services, records)
    evidence = {
        "optimization": msgspec.to_builtins(found),
        "variants": {name: {v: _builtins(r) for v, r in known.items()} for name, known in records.items()},
        "validation": {
            "valid": outcome.valid,
            "errors": [_builtins(finding) for finding in outcome.errors],
            "warnings": list(outcome.warnings),
            "revised_impact": _builtins(outcome.revised_impact),
        },
    }
    parts = [found.rationale or "no rationale was given", f"status {found.status}"]
    if found.deployment is not None and found.deployment.progress:
        parts.append(found.deployment.progress)
    parts += [finding.message for finding in outcome.errors] + list(outcome.warnings)
    return {"id": found.id, "explanation": "; ".join(parts), "evidence": evidence}


def _builtins(value: object) -> object:
    found: object = msgspec.to_builtins(value)
    return found
