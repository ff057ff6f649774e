"""Why an optimization was proposed, and what is known about it now."""

from optimizer.grpc_api.convert import to_struct
from optimizer.grpc_api.pb import routing_pb2 as pb
from optimizer.model import Optimization
from optimizer.processor import Registry
from optimizer.processor.deployments import explain


def explain_optimization(found: Optimization, registry: Registry) -> pb.ExplainOptimizationResponse:
    """See `explain`."""
    told = explain(found, registry)
    evidence = told["evidence"]
    if not isinstance(evidence, dict):
        raise TypeError("the evidence is a table")
    return pb.ExplainOptimizationResponse(
        optimization_id=found.id, explanation=str(told["explanation"]), evidence=to_struct(evidence)
    )
