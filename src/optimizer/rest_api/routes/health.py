"""Health over JSON: the whole, liveness, readiness. Public, because probes carry no credentials."""

from datetime import UTC, datetime
from typing import Protocol

from quart import Response
from quart_trio import QuartTrio

from optimizer.rest_api.access import public
from optimizer.rest_api.answers import answer


class Health(Protocol):
    """What the routes ask; the tree's health board."""

    def report(self) -> dict[str, object]: ...

    def status(self) -> str: ...

    def ready(self) -> bool: ...


def add(app: QuartTrio, health: Health) -> None:
    """Routes for health."""

    @app.get("/health")
    @public
    async def get_health() -> Response:
        return answer(health.report(), 503 if health.status() == "unhealthy" else 200)

    @app.get("/health/live")
    @public
    async def get_liveness() -> Response:
        return answer({"alive": True, "timestamp": datetime.now(UTC).isoformat()})

    async def readiness() -> Response:
        ready = health.ready()
        return answer({"ready": ready, "status": health.status()}, 200 if ready else 503)

    app.add_url_rule("/health/ready", "get_readiness", public(readiness), methods=["GET"])
    app.add_url_rule("/ready", "get_ready", public(readiness), methods=["GET"])
