"""Services over JSON: declare, read, decide, report, explain."""

from datetime import UTC, datetime

import msgspec
from pydantic import TypeAdapter
from quart import Response, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector.schema import ServiceName
from optimizer.model import Service
from optimizer.processor import Decision, Processor
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer, mapping
from optimizer.rest_api.schema import DecideBody, ServiceBody
from optimizer.security import Permission

_service_name: TypeAdapter[str] = TypeAdapter(ServiceName)
_decide = TypeAdapter(DecideBody)
_service = TypeAdapter(ServiceBody)


def add(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    """Routes for services."""

    @app.put("/api/v1/services/<service>")
    @access.needs(Permission.OPTIMIZE_WRITE)
    async def put_service(service: str) -> Response:
        body = _service.validate_python(await mapping())
        declared = await processor.get().registry.declare(body.declaration(_name(service)))
        return answer(declaration(declared))

    @app.get("/api/v1/services")
    @access.needs(Permission.OPTIMIZE_READ)
    async def list_services() -> Response:
        return answer({"services": [declaration(s) for s in processor.get().registry.list()]})

    @app.get("/api/v1/services/<service>")
    @access.needs(Permission.OPTIMIZE_READ)
    async def get_service(service: str) -> Response:
        return answer(declaration(processor.get().registry.get(service)))

    @app.delete("/api/v1/services/<service>")
    @access.needs(Permission.OPTIMIZE_WRITE)
    async def delete_service(service: str) -> Response:
        await processor.get().registry.withdraw(service)
        return Response(b"", 204)

    @app.post("/api/v1/services/<service>/decide")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def decide(service: str) -> Response:
        ask = _decide.validate_python(await mapping())
        decision = processor.get().decider.decide(service, ask.context, sticky=ask.key, request_id=ask.request_id)
        return answer(_decision(decision))

    @app.get("/api/v1/services/<service>/report")
    @access.needs(Permission.OPTIMIZE_READ)
    async def report(service: str) -> Response:
        return answer(processor.get().registry.report(service, request.args.get("segment_by")))

    @app.get("/api/v1/services/<service>/explain/<assignment_id>")
    @access.needs(Permission.OPTIMIZE_READ)
    async def explain(service: str, assignment_id: str) -> Response:
        return answer(await processor.get().registry.explain(service, assignment_id))


def _name(name: str) -> str:
    return _service_name.validate_python(name)


def declaration(service: Service) -> dict[str, object]:
    """A service as JSON; bounds that are not set are left out."""
    found: dict[str, object] = msgspec.to_builtins(service, builtin_types=(), str_keys=True)
    return found


def _decision(decision: Decision) -> dict[str, object]:
    a = decision.assignment
    return {
        "assignment_id": a.assignment_id,
        "variant": a.variant,
        "config": decision.config,
        "probability": a.probability,
        "policy_version": a.policy_version,
        "segment": a.segment,
        "reason": a.reason,
        "expires_at": datetime.fromtimestamp(a.expires_at / 1e6, UTC).isoformat(),
    }
