"""Rollouts over JSON: begin, read, steer."""

from typing import Annotated, get_args

from pydantic import Field, Strict, TypeAdapter
from quart import Response, g, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector.schema import Name
from optimizer.core.judge import Guardrail
from optimizer.core.rollout import Rollout, RolloutSpec
from optimizer.core.rollout.plan import DEFAULT_GUARDRAILS, DEFAULT_STAGES
from optimizer.model import NotFound
from optimizer.processor import Processor
from optimizer.processor.rollouts import Action, RolloutDesk
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer, mapping
from optimizer.rest_api.schema import Body, Number
from optimizer.security import Permission


class GuardrailBody(Body):
    """One bound on one metric; see `Guardrail`."""

    metric: Name
    max_drop: Number | None = None
    max_increase: Number | None = None
    max_drop_ratio: Number | None = None
    max_increase_ratio: Number | None = None
    max_shift: Number | None = None
    min: Number | None = None
    max: Number | None = None
    max_mean: Number | None = None
    quantile: Number | None = None
    upper: Number | None = None


class RolloutBody(Body):
    """What is to be rolled out, in which stages, inside which guardrails."""

    candidate: Name
    stages: tuple[Number, ...] = DEFAULT_STAGES
    stage_min_s: Number = 300.0
    stage_min_events: Annotated[int, Strict()] = 100
    guardrails: tuple[GuardrailBody, ...] | None = None
    alpha: Number = 0.05
    max_events: Annotated[int, Strict()] | None = None
    timeout_s: Number | None = 3600.0
    auto: bool = True
    auto_rollback: bool = True
    by_segment: bool = False

    def spec(self, service: str, baseline: str) -> RolloutSpec:
        """The domain value; the machine checks it."""
        fields = self.model_dump(exclude={"guardrails"})
        guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
        if self.guardrails is not None:
            guardrails = tuple(Guardrail(**bound.model_dump()) for bound in self.guardrails)
        return RolloutSpec(service=service, baseline=baseline, guardrails=guardrails, **fields)


class CommandBody(Body):
    """Why a rollout is steered."""

    reason: Annotated[str, Field(max_length=1000)] = ""


_rollout = TypeAdapter(RolloutBody)
_command = TypeAdapter(CommandBody)


def add(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    """Routes for rollouts."""

    def desk() -> RolloutDesk:
        return processor.get().rollouts

    def told(rollout: Rollout, status: int = 200) -> Response:
        return answer(desk().describe(rollout), status)

    @app.post("/api/v1/services/<service>/rollouts")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def begin_rollout(service: str) -> Response:
        body = _rollout.validate_python(await mapping())
        spec = body.spec(service, desk().baseline(service))
        return told(await desk().begin(spec, g.identity.subject), 201)

    @app.get("/api/v1/rollouts")
    @access.needs(Permission.OPTIMIZE_READ)
    async def list_rollouts() -> Response:
        found = desk().list(request.args.get("service"))
        return answer({"rollouts": [desk().describe(rollout) for rollout in found]})

    @app.get("/api/v1/rollouts/<rollout_id>")
    @access.needs(Permission.OPTIMIZE_READ)
    async def get_rollout(rollout_id: str) -> Response:
        return told(await desk().get(rollout_id))

    @app.get("/api/v1/rollouts/<rollout_id>/explain")
    @access.needs(Permission.OPTIMIZE_READ)
    async def explain_rollout(rollout_id: str) -> Response:
        return answer(await desk().explain(rollout_id))

    @app.post("/api/v1/rollouts/<rollout_id>/<action>")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def steer_rollout(rollout_id: str, action: Action) -> Response:
        if action not in get_args(Action):
            raise NotFound(f"a rollout can be asked to {', '.join(get_args(Action))}; not to {action!r}")
        body = _command.validate_python(await mapping())
        return told(await desk().command(rollout_id, action, g.identity.subject, body.reason))
