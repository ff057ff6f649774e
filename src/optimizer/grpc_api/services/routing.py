"""RoutingService: services, decisions, reports, explanations, alerts."""

from collections.abc import Callable
from typing import Any

import trio
from google.protobuf.struct_pb2 import Struct

from optimizer.core.paging import paginate
from optimizer.grpc_api.convert import from_struct, to_page, to_struct, to_time
from optimizer.grpc_api.convert.replies import error_detail
from optimizer.grpc_api.convert.report import to_report
from optimizer.grpc_api.convert.routing import REASONS, from_service, to_explanation, to_service
from optimizer.grpc_api.convert.times import optional_time
from optimizer.grpc_api.handling import Call, first, unary
from optimizer.grpc_api.pb import routing_pb2 as pb
from optimizer.grpc_api.pb.routing_grpc import RoutingServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.services.explaining import explain_optimization
from optimizer.grpc_api.streams.declarations import ServiceWatch
from optimizer.grpc_api.streams.memo import Memo
from optimizer.grpc_api.streams.subscriptions import call_accepted
from optimizer.model import Alert, Conflict, InvalidArgument, OptimizerError
from optimizer.processor import Decision

CONFIGS = 4_096
"""Configurations whose wire form is remembered: 64 services with all their variants."""
ALERTS = 1_000
LONGEST = 512


class RoutingService(RoutingServiceBase):
    """`Decide` is answered from memory; what it needs per variant is converted once."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._puts = trio.Lock()  # between looking at a version and replacing it nobody else may
        self._config: Memo[dict[str, object], Struct] = Memo(to_struct, CONFIGS)

    @unary
    async def Decide(self, request: pb.DecideRequest, call: Call[Any, Any]) -> pb.Decision:
        """See the proto."""
        return self._decide(request)

    async def DecideStream(self, stream: Call[pb.DecideRequest, pb.DecideReply]) -> None:
        """See the proto."""
        await call_accepted(stream)
        index = 0
        async for request in stream:
            reply = pb.DecideReply(request_id=request.request_id, index=index)
            try:
                reply.decision.CopyFrom(self._decide(request))
            except OptimizerError as error:
                reply.error.CopyFrom(error_detail(error))
            await stream.send_message(reply)
            index += 1

    @unary
    async def PutService(self, request: pb.PutServiceRequest, call: Call[Any, Any]) -> pb.PutServiceResponse:
        """See the proto."""
        service = from_service(request.service)
        processor = self._rooms.processor.get()
        async with self._puts:
            now = processor.registry.revision(service.name)
            if request.HasField("expected_version") and now != request.expected_version:
                raise Conflict(f"service {service.name!r} has version {now}, not {request.expected_version}")
            declared = await processor.registry.declare(service)
        return pb.PutServiceResponse(service=to_service(declared), version=processor.registry.revision(service.name))

    @unary
    async def GetService(self, request: pb.GetServiceRequest, call: Call[Any, Any]) -> pb.GetServiceResponse:
        """See the proto."""
        registry = self._rooms.processor.get().registry
        found = registry.get(request.service)
        return pb.GetServiceResponse(service=to_service(found), version=registry.revision(request.service))

    @unary
    async def ListServices(self, request: pb.ListServicesRequest, call: Call[Any, Any]) -> pb.ListServicesResponse:
        """See the proto."""
        found = self._rooms.processor.get().registry.list()
        page = paginate(found, request.pagination.page, request.pagination.page_size)
        return pb.ListServicesResponse(services=[to_service(each) for each in page.items], pagination=to_page(page))

    @unary
    async def GetReport(self, request: pb.GetReportRequest, call: Call[Any, Any]) -> pb.GetReportResponse:
        """See the proto."""
        processor = self._rooms.processor.get()
        report = processor.registry.report(request.service, ",".join(request.segment_by) or None)
        return to_report(report, by_segment=bool(request.segment_by), folded_to=processor.progress.get())

    @unary
    async def ExplainAssignment(
        self, request: pb.ExplainAssignmentRequest, call: Call[Any, Any]
    ) -> pb.ExplainAssignmentResponse:
        """See the proto."""
        registry = self._rooms.processor.get().registry
        found = await registry.explain(request.service, request.assignment_id)
        lease = registry.get(request.service).lease_s
        return to_explanation(request.assignment_id, found, lease)

    @unary
    async def ExplainOptimization(
        self, request: pb.ExplainOptimizationRequest, call: Call[Any, Any]
    ) -> pb.ExplainOptimizationResponse:
        """See the proto."""
        found = await self._rooms.offices.optimizations.get(request.optimization_id)
        return explain_optimization(found, self._rooms.processor.get().registry)

    async def WatchServices(self, stream: Call[pb.WatchServicesRequest, pb.ServiceEvent]) -> None:
        """See the proto."""
        request = await first(stream)
        watch = ServiceWatch(self._rooms, frozenset(request.services), changes_only=request.changes_only)
        await watch.serve(stream)

    @unary
    async def ListAlerts(self, request: pb.ListAlertsRequest, call: Call[Any, Any]) -> pb.ListAlertsResponse:
        """See the proto."""
        if not 0 <= request.limit <= ALERTS:
            raise InvalidArgument(f"at most {ALERTS} alerts in one answer", field="limit")
        found = await self._rooms.offices.alerts.select(
            service=request.service or None,
            metric=request.metric or None,
            since=optional_time(request, "since"),
            limit=request.limit or 100,
        )
        return pb.ListAlertsResponse(alerts=[to_alert(alert) for alert in found])

    def _decide(self, request: pb.DecideRequest) -> pb.Decision:
        for name in ("key", "request_id"):
            if len(getattr(request, name)) > LONGEST:
                raise InvalidArgument(f"at most {LONGEST} characters", field=name)
        decision = self._rooms.processor.get().decider.decide(
            request.service,
            _context(request),
            sticky=request.key if request.HasField("key") else None,
            request_id=request.request_id if request.HasField("request_id") else None,
        )
        return to_decision(decision, self._config)


def _context(request: pb.DecideRequest) -> dict[str, Any]:
    """The context; nested values have no segment and are refused, as over REST."""
    context = from_struct(request.context) if request.HasField("context") else {}
    for name, value in context.items():
        if isinstance(value, dict | list):
            raise InvalidArgument("a context holds texts, numbers, true, false and null", field=f"context.{name[:64]}")
    return context


def to_decision(decision: Decision, config: Callable[[dict[str, object]], Struct]) -> pb.Decision:
    """A decision on the wire."""
    made = decision.assignment
    return pb.Decision(
        assignment_id=made.assignment_id,
        variant=made.variant,
        config=config(decision.config),
        probability=made.probability,
        policy_version=made.policy_version,
        reason=REASONS[made.reason],
        expires_at=to_time(made.expires_at),
    )


def to_alert(alert: Alert) -> pb.Alert:
    """An alert on the wire."""
    return pb.Alert(
        alert_id=alert.alert_id,
        alert_type=alert.alert_type,
        severity=alert.severity,
        service=alert.service,
        metric=alert.metric,
        timestamp=to_time(alert.at),
        value=alert.value,
        title=alert.title,
        description=alert.description,
    )
