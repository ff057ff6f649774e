"""Why an optimization was proposed, and what is known about it now."""

import msgspec

from optimizer.grpc_api.convert import to_struct
from optimizer.grpc_api.pb import routing_pb2 as pb
from optimizer.model import Optimization
from optimizer.processor import Registry
from optimizer.processor.optimizations import validate
from optimizer.processor.optimizations.evidence import records_of


def explain_optimization(found: Optimization, registry: Registry) -> pb.ExplainOptimizationResponse:
    """The proposal as stored, the records of the variants now, and what validation would say now."""
    services = {service.name: service for service in registry.list()}
    records = {name: records_of(registry.report(name)) for name in found.target_services if name in services}
    outcome = validate(found, services, records)
    evidence = {
        "optimization": msgspec.to_builtins(found),
        "variants": {name: {v: msgspec.to_builtins(r) for v, r in known.items()} for name, known in records.items()},
        "validation": {
            "valid": outcome.valid,
            "errors": [msgspec.to_builtins(finding) for finding in outcome.errors],
            "warnings": list(outcome.warnings),
            "revised_impact": msgspec.to_builtins(outcome.revised_impact),
        },
    }
    parts = [found.rationale or "no rationale was given", f"status {found.status}"]
    parts += [finding.message for finding in outcome.errors] + list(outcome.warnings)
    return pb.ExplainOptimizationResponse(
        optimization_id=found.id, explanation="; ".join(parts), evidence=to_struct(evidence)
    )
