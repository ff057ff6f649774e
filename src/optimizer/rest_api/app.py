"""The REST application: routes, access control, limits and error answers. Independent of the server under it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio
from pydantic import ValidationError
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from optimizer import model
from optimizer.bus import Slot
from optimizer.collector import Intake
from optimizer.processor import Processor
from optimizer.rest_api import problems
from optimizer.rest_api.access import Access
from optimizer.rest_api.routes import feedback, health, optimizations, rollouts, services, telemetry, watching, windows

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the routes use; `request_done` is told operation, status and seconds of every request."""

    processor: Slot[Processor]
    intake: Slot[Intake]
    access: Access
    health: health.Health
    request_done: Callable[[str, int, float], None]
    largest_body: int
    timeout_s: float


def make_app(deps: Deps) -> QuartTrio:
    """The application with all its routes. Every route names the permission that it needs, or that it is public."""
    app = QuartTrio("optimizer", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = deps.largest_body
    app.config["BODY_TIMEOUT"] = deps.timeout_s
    app.config["RESPONSE_TIMEOUT"] = deps.timeout_s
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    services.add(app, deps.processor, deps.access)
    feedback.add(app, deps.intake, deps.access)
    telemetry.add(app, deps.intake, deps.access)
    optimizations.add(app, deps.processor, deps.access)
    rollouts.add(app, deps.processor, deps.access)
    watching.add(app, deps.processor, deps.access)
    windows.add(app, deps.processor, deps.access)
    health.add(app, deps.health)
    _add_errors(app)
    _add_telemetry(app, deps.request_done)
    deps.access.check_complete(app)
    return app


def _add_telemetry(app: QuartTrio, request_done: Callable[[str, int, float], None]) -> None:
    @app.before_request
    async def start() -> None:
        request.scope["started"] = time.perf_counter()  # type: ignore[typeddict-unknown-key]  # the scope is ours to extend

    @app.after_request
    async def finish(response: Response) -> Response:
        started = request.scope.get("started")
        seconds = time.perf_counter() - started if isinstance(started, float) else 0.0
        operation = request.endpoint or "unmatched"
        request_done(operation, response.status_code, seconds)
        return response


def _add_errors(app: QuartTrio) -> None:
    @app.errorhandler(model.OptimizerError)
    async def expected(error: model.OptimizerError) -> Response:
        return problems.of_error(error)

    @app.errorhandler(ValidationError)
    async def invalid(error: ValidationError) -> Response:
        details = [
            {"field": ".".join(str(part) for part in e["loc"]), "error": e["msg"]}
            for e in error.errors(include_url=False, include_input=False, include_context=False)[:20]
        ]
        kind = problems.KINDS[model.InvalidArgument]
        return problems.problem(kind, f"{error.error_count()} problems in the body", errors=details)

    @app.errorhandler(HTTPException)
    async def http(error: HTTPException) -> Response:
        status = error.code or 500
        kind = problems.Kind(status, error.name.lower().replace(" ", "_"), error.name)
        response = problems.problem(kind, error.description or error.name)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after"):
                response.headers[name] = value
        return response

    @app.errorhandler(trio.TooSlowError)
    async def slow(_: trio.TooSlowError) -> Response:
        return problems.problem(problems.TIMEOUT, "the server gave up on it; whether it took effect is not known")

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        log.error("request failed", operation=request.endpoint, exc_info=error)
        return problems.problem(problems.INTERNAL, "the cause is in the server's log")
