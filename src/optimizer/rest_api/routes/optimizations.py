"""Optimizations over JSON: create, list, read, validate, deploy, take back, cancel, explain."""

from typing import Annotated, get_args

from pydantic import Field, JsonValue, Strict, TypeAdapter
from quart import Response, g, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector.schema import Name
from optimizer.core.paging import Page, paginate
from optimizer.core.rollout import canary_stages
from optimizer.model import Bound, FailedPrecondition, InvalidArgument, Optimization, ParameterChange, Service
from optimizer.model.optimizations import Status, Strategy
from optimizer.processor import Processor
from optimizer.processor.deployments import explain
from optimizer.processor.optimizations import Proposal, Selection, suggest
from optimizer.processor.optimizations.evidence import records_of, text_of
from optimizer.processor.optimizations.target import baseline_config
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer, mapping
from optimizer.rest_api.routes.watching import parse_time, stamp
from optimizer.rest_api.schema import Body, Number
from optimizer.security import Permission

SPELLINGS: dict[str, Strategy] = {"a_b_testing": "ab_testing", **{s: s for s in get_args(Strategy)}}
"""The contract writes a_b_testing; its documents and its command line write ab_testing."""
Reason = Annotated[str, Field(max_length=1000)]


class BoundBody(Body):
    """A limit; see `Bound`."""

    constraint_type: Annotated[str, Field(min_length=1, max_length=256)]
    value: JsonValue
    hard: Annotated[bool, Strict()] = False


class OptimizeBody(Body):
    """What should be optimised. `config` are parameters to set on the baseline, or {"variant": name}."""

    target_services: Annotated[tuple[Name, ...], Field(min_length=1)]
    strategy: str
    config: dict[str, JsonValue] | None = None
    constraints: tuple[BoundBody, ...] = ()
    dry_run: Annotated[bool, Strict()] = False


class DeployBody(Body):
    """How to deploy: in stages from `rollout_percentage` up, or (not `gradual`) from it to everybody at once."""

    gradual: Annotated[bool, Strict()] = True
    rollout_percentage: Number = 10.0
    force: Annotated[bool, Strict()] = False

    @property
    def stages(self) -> tuple[float, ...]:
        """The stages of the rollouts."""
        gradual = canary_stages(self.rollout_percentage)
        return gradual if self.gradual else (gradual[0], 100.0)


class RollbackBody(Body):
    """Why it is taken back."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class CancelBody(Body):
    """Why it is cancelled."""

    reason: Reason = ""


class ValidateBody(Body):
    """Whether the outcome is to be kept."""

    dry_run: Annotated[bool, Strict()] = False


_optimize, _deploy = TypeAdapter(OptimizeBody), TypeAdapter(DeployBody)
_rollback, _cancel, _validate = TypeAdapter(RollbackBody), TypeAdapter(CancelBody), TypeAdapter(ValidateBody)


def add(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    """Routes for optimizations."""

    @app.post("/api/v1/optimize")
    @access.needs(Permission.OPTIMIZE_WRITE)
    async def create_optimization() -> Response:
        body, part = _optimize.validate_python(await mapping()), processor.get()
        made = await part.optimizations.create(_proposal(body, part), by=g.identity.subject, dry_run=body.dry_run)
        return answer(describe(made), 200 if body.dry_run else 201)

    @app.get("/api/v1/optimize")
    @access.needs(Permission.OPTIMIZE_READ)
    async def list_optimizations() -> Response:
        found = await processor.get().optimizations.select(_selection())
        return answer(_page(paginate(found, _whole("page", 1), _whole("page_size", 20))))

    @app.get("/api/v1/optimize/<optimization_id>")
    @access.needs(Permission.OPTIMIZE_READ)
    async def get_optimization(optimization_id: str) -> Response:
        return answer(describe(await processor.get().optimizations.get(optimization_id)))

    @app.get("/api/v1/optimizations/<optimization_id>/explain")
    @access.needs(Permission.OPTIMIZE_READ)
    async def explain_optimization(optimization_id: str) -> Response:
        part = processor.get()
        return answer(explain(await part.optimizations.get(optimization_id), part.registry))

    _add_actions(app, processor, access)


def _add_actions(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    @app.post("/api/v1/optimize/<optimization_id>/validate")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def validate_optimization(optimization_id: str) -> Response:
        dry_run = _validate.validate_python(await mapping()).dry_run
        outcome = await processor.get().deployments.validate(optimization_id, dry_run=dry_run)
        errors = [{"code": e.code, "message": e.message, "field": e.field} for e in outcome.errors]
        return answer({"valid": outcome.valid, "errors": errors, "warnings": list(outcome.warnings)})

    @app.post("/api/v1/optimize/<optimization_id>/deploy")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def deploy_optimization(optimization_id: str) -> Response:
        body = _deploy.validate_python(await mapping())
        found = await processor.get().deployments.deploy(
            optimization_id, by=g.identity.subject, stages=body.stages, force=body.force
        )
        return answer(describe(found))

    @app.post("/api/v1/optimize/<optimization_id>/rollback")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def roll_back_optimization(optimization_id: str) -> Response:
        reason = _rollback.validate_python(await mapping()).reason
        found = await processor.get().deployments.rollback(optimization_id, by=g.identity.subject, reason=reason)
        return answer(describe(found))

    @app.post("/api/v1/optimize/<optimization_id>/cancel")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def cancel_optimization(optimization_id: str) -> Response:
        reason = _cancel.validate_python(await mapping()).reason
        found = await processor.get().deployments.cancel(optimization_id, by=g.identity.subject, reason=reason)
        return answer(describe(found))


def describe(found: Optimization) -> dict[str, object]:
    """The contract's OptimizationResponse, with constraints, metadata and the rollouts beside it."""
    expected, actual, deployment = found.expected_impact, found.actual_impact, found.deployment
    return {
        "id": found.id,
        "target_services": list(found.target_services),
        "strategy": "a_b_testing" if found.strategy == "ab_testing" else found.strategy,
        "status": found.status,
        "changes": [
            {name: getattr(change, name) for name in ("parameter", "old_value", "new_value", "change_type")}
            for change in found.changes
        ],
        "expected_impact": None if expected is None else {name: getattr(expected, name) for name in EXPECTED},
        "actual_impact": None
        if actual is None
        else {
            **{name: getattr(actual, name) for name in ACTUAL},
            "measured_from": stamp(actual.measured_from),
            "measured_until": stamp(actual.measured_until),
        },
        "rationale": found.rationale,
        "created_at": stamp(found.created_at),
        "deployed_at": None if found.deployed_at is None else stamp(found.deployed_at),
        "rolled_back_at": None if found.rolled_back_at is None else stamp(found.rolled_back_at),
        "constraints": [
            {"constraint_type": b.constraint_type, "value": b.value, "hard": b.hard} for b in found.constraints
        ],
        "metadata": found.metadata,
        "rollouts": {} if deployment is None else {step.service: step.rollout_id for step in deployment.steps},
        "progress": "" if deployment is None else deployment.progress,
    }


DELTAS = ("cost_reduction_pct", "quality_delta_pct", "latency_delta_pct")
EXPECTED = (*DELTAS, "confidence")
ACTUAL = (*DELTAS, "requests_affected")


def _proposal(body: OptimizeBody, part: Processor) -> Proposal:
    """What the body asks for; without a configuration, what the evidence suggests for the one service."""
    strategy = SPELLINGS.get(body.strategy)
    if strategy is None:
        raise InvalidArgument(f"{body.strategy[:64]!r} is none of {sorted(SPELLINGS)}", field="strategy")
    services = [part.registry.get(name) for name in body.target_services]
    bounds = tuple(
        Bound(constraint_type=c.constraint_type, value=text_of(c.value), hard=c.hard) for c in body.constraints
    )
    if body.config is not None:
        changes = _changes(services[0], body.config)
        return Proposal(strategy=strategy, target_services=body.target_services, changes=changes, constraints=bounds)
    if len(services) > 1:
        raise InvalidArgument("without a config, one service at a time", field="target_services")
    found = suggest(services[0], records_of(part.registry.report(services[0].name)))
    if found.proposal is None:
        raise FailedPrecondition(found.explanation)
    return Proposal(
        strategy=strategy,
        target_services=body.target_services,
        changes=found.proposal.changes,
        rationale=found.proposal.rationale,
        expected_impact=found.proposal.expected_impact,
        constraints=bounds,
        metadata=found.proposal.metadata,
    )


def _changes(service: Service, config: dict[str, JsonValue]) -> tuple[ParameterChange, ...]:
    baseline = baseline_config(service)
    return tuple(
        ParameterChange(
            parameter=name,
            old_value=text_of(baseline[name]) if name in baseline else "",
            new_value=text_of(value),
            change_type="replace" if name in baseline else "add",
        )
        for name, value in sorted(config.items())
    )


def _selection() -> Selection:
    args = request.args
    status, strategy = args.get("status"), args.get("strategy")
    if status is not None and status not in get_args(Status):
        raise InvalidArgument(f"is none of {', '.join(get_args(Status))}", field="status")
    if strategy is not None and strategy not in SPELLINGS:
        raise InvalidArgument(f"is none of {', '.join(SPELLINGS)}", field="strategy")
    return Selection(
        statuses=frozenset() if status is None else frozenset({status}),
        strategies=frozenset() if strategy is None else frozenset({SPELLINGS[strategy]}),
        service=args.get("service"),
        start=parse_time(args.get("from"), "from"),
        end=parse_time(args.get("to"), "to"),
    )


def _whole(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidArgument("is a whole number from 1 up", field=name)
    return int(text)


def _page(page: Page[Optimization]) -> dict[str, object]:
    return {
        "items": [describe(found) for found in page.items],
        "total": page.total,
        "page": page.number,
        "page_size": page.size,
        "total_pages": page.pages,
    }
