"""OptimizationService: what both front doors know as optimizations."""

from collections.abc import Mapping
from typing import Any

from optimizer.core.rollout import canary_stages
from optimizer.core.rollout.plan import DEFAULT_STAGES
from optimizer.grpc_api.convert import from_time_range, partial, success, to_page
from optimizer.grpc_api.convert.optimizations import (
    STATUSES,
    STRATEGIES,
    from_create,
    from_filter,
    to_decision,
    to_event,
    to_validation,
)
from optimizer.grpc_api.convert.replies import error_detail, page_of
from optimizer.grpc_api.handling import Call, caller, demand, first, unary
from optimizer.grpc_api.pb import optimization_pb2 as pb
from optimizer.grpc_api.pb.optimization_grpc import OptimizationServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.session import Session
from optimizer.grpc_api.streams.subscriptions import Feed, call_accepted
from optimizer.model import InvalidArgument, Optimization, OptimizationChange, Service
from optimizer.processor.deployments import Deployments
from optimizer.processor.optimizations import Selection
from optimizer.processor.optimizations.evidence import VariantRecord, records_of
from optimizer.security import Permission

BATCH = 10_000
"""Optimizations that one stream may create: its reply holds them all."""
ERRORS = 1_000


class OptimizationService(OptimizationServiceBase):
    """Create, look up, validate, deploy, take back, follow, and a session that suggests from the evidence."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._optimizations = rooms.offices.optimizations
        self._events = Feed(rooms.subscriptions, rooms.news.optimizations, to_event)

    @unary
    async def CreateOptimization(
        self, request: pb.CreateOptimizationRequest, call: Call[Any, Any]
    ) -> pb.CreateOptimizationResponse:
        """See the proto."""
        made = await self._create(request, call)
        return pb.CreateOptimizationResponse(decision=to_decision(made), status=success())

    @unary
    async def GetOptimization(
        self, request: pb.GetOptimizationRequest, call: Call[Any, Any]
    ) -> pb.GetOptimizationResponse:
        """See the proto."""
        found = await self._optimizations.get(request.decision_id)
        return pb.GetOptimizationResponse(decision=to_decision(found), status=success())

    @unary
    async def ListOptimizations(
        self, request: pb.ListOptimizationsRequest, call: Call[Any, Any]
    ) -> pb.ListOptimizationsResponse:
        """See the proto. `sort_by` is created_at or nothing; `ascending` turns the order round."""
        if request.pagination.sort_by not in ("", "created_at"):
            raise InvalidArgument("optimizations are sorted by created_at", field="pagination.sort_by")
        start, end = from_time_range(request)
        selection = Selection(
            statuses=from_filter(request.status_filter, STATUSES, "status_filter"),
            strategies=from_filter(request.strategy_filter, STRATEGIES, "strategy_filter"),
            start=start,
            end=end,
        )
        found = await self._optimizations.select(selection)
        page = page_of(found[::-1] if request.pagination.ascending else found, request.pagination)
        return pb.ListOptimizationsResponse(
            decisions=[to_decision(each) for each in page.items], pagination=to_page(page), status=success()
        )

    @unary
    async def CancelOptimization(
        self, request: pb.CancelOptimizationRequest, call: Call[Any, Any]
    ) -> pb.CancelOptimizationResponse:
        """See the proto."""
        found = await self._deployments.cancel(request.decision_id, by=caller(call), reason=request.reason)
        return pb.CancelOptimizationResponse(decision=to_decision(found), status=success())

    @unary
    async def DeployOptimization(
        self, request: pb.DeployOptimizationRequest, call: Call[Any, Any]
    ) -> pb.DeployOptimizationResponse:
        """See the proto. `deployment_id` is the rollout of the first service."""
        stages = canary_stages(request.canary_percentage) if request.canary else DEFAULT_STAGES
        found = await self._deployments.deploy(request.decision_id, by=caller(call), stages=stages, force=request.force)
        steps = () if found.deployment is None else found.deployment.steps
        return pb.DeployOptimizationResponse(
            decision=to_decision(found), deployment_id=steps[0].rollout_id if steps else "", status=success()
        )

    @unary
    async def RollbackOptimization(
        self, request: pb.RollbackOptimizationRequest, call: Call[Any, Any]
    ) -> pb.RollbackOptimizationResponse:
        """See the proto."""
        found = await self._deployments.rollback(request.decision_id, by=caller(call), reason=request.reason)
        return pb.RollbackOptimizationResponse(decision=to_decision(found), status=success())

    @unary
    async def ValidateOptimization(
        self, request: pb.ValidateOptimizationRequest, call: Call[Any, Any]
    ) -> pb.ValidateOptimizationResponse:
        """See the proto."""
        validation = await self._deployments.validate(request.decision_id, dry_run=request.dry_run)
        return pb.ValidateOptimizationResponse(validation=to_validation(validation), status=success())

    async def SubscribeOptimizationEvents(
        self, stream: Call[pb.SubscribeOptimizationEventsRequest, pb.OptimizationEvent]
    ) -> None:
        """See the proto."""
        request = await first(stream)
        ids = frozenset(request.decision_ids)
        statuses = from_filter(request.status_filter, STATUSES, "status_filter")

        def wanted(change: OptimizationChange) -> bool:
            found = change.optimization
            return (not ids or found.id in ids) and (not statuses or found.status in statuses)

        await self._events.serve(stream, wanted)

    async def BatchCreateOptimizations(
        self, stream: Call[pb.CreateOptimizationRequest, pb.BatchCreateOptimizationsResponse]
    ) -> None:
        """See the proto."""
        reply, failed, errors = pb.BatchCreateOptimizationsResponse(), 0, []
        index = 0
        async for request in stream:
            if index >= BATCH:
                raise InvalidArgument(f"one stream creates at most {BATCH} optimizations")
            try:
                reply.decisions.append(to_decision(await self._create(request, stream)))
            except InvalidArgument as error:
                failed += 1
                errors.append(error_detail(error, index=index))
            index += 1
        reply.successful, reply.failed = index - failed, failed
        status = success() if not failed else partial(f"{failed} of {index} were refused", errors[:ERRORS])
        reply.status.CopyFrom(status)
        await stream.send_message(reply)

    async def OptimizationSession(
        self, stream: Call[pb.OptimizationSessionMessage, pb.OptimizationSessionMessage]
    ) -> None:
        """See the proto."""
        with self._rooms.subscriptions.admit():
            await call_accepted(stream)
            await Session(stream, self._optimizations, self._services, self._records, by=caller(stream)).run()

    async def _create(self, request: pb.CreateOptimizationRequest, call: Call[Any, Any]) -> Optimization:
        if request.auto_deploy:
            demand(call, Permission.OPTIMIZE_EXECUTE)
        made = await self._optimizations.create(from_create(request), by=caller(call))
        if not request.auto_deploy:
            return made
        if (await self._deployments.validate(made.id, dry_run=False)).valid:
            return await self._deployments.deploy(made.id, by=caller(call), stages=DEFAULT_STAGES)
        return await self._optimizations.get(made.id)

    @property
    def _deployments(self) -> Deployments:
        return self._rooms.processor.get().deployments

    def _services(self) -> Mapping[str, Service]:
        return {service.name: service for service in self._rooms.processor.get().registry.list()}

    def _records(self, service: str) -> Mapping[str, VariantRecord]:
        return records_of(self._rooms.processor.get().registry.report(service))
