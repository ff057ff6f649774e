"""HealthService: the board of the tree, in the words of the contract."""

from datetime import timedelta
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer import __version__
from optimizer.grpc_api.convert import to_time
from optimizer.grpc_api.handling import Call, first, unary
from optimizer.grpc_api.pb import health_pb2 as pb
from optimizer.grpc_api.pb.health_grpc import HealthServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.nurseries.health import ServiceHealth, State

SERVING, NOT_SERVING = pb.HEALTH_STATUS_SERVING, pb.HEALTH_STATUS_NOT_SERVING


class HealthService(HealthServiceBase):
    """ "" is the whole server; components are the services of the tree (storage, collector, processor, ...)."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._board = rooms.board

    @unary
    async def Check(self, request: pb.HealthCheckRequest, call: Call[Any, Any]) -> pb.HealthCheckResponse:
        """See the proto."""
        status = self._status(request.service)
        if status == pb.HEALTH_STATUS_SERVICE_UNKNOWN:
            raise GRPCError(Status.NOT_FOUND, f"no component {request.service[:64]!r}")
        return pb.HealthCheckResponse(status=status)

    @unary
    async def DetailedHealth(
        self, request: pb.DetailedHealthRequest, call: Call[Any, Any]
    ) -> pb.DetailedHealthResponse:
        """See the proto."""
        now = self._rooms.now()
        components = []
        if request.include_components:
            components = [
                pb.ComponentHealth(
                    name=name,
                    status=component_status(health),
                    message=health.message or "",
                    last_check=to_time(now),
                    details={**health.metadata, "state": str(health.state), "restarts": str(health.restarts)},
                )
                for name, health in self._board.services().items()
            ]
        uptime = timedelta(microseconds=now - self._rooms.started_at)
        health = pb.SystemHealth(
            overall_status=self._status(""),
            components=components,
            checked_at=to_time(now),
            version=__version__,
            uptime_seconds=max(int(uptime.total_seconds()), 0),
        )
        return pb.DetailedHealthResponse(health=health)

    @unary
    async def Readiness(self, request: pb.ReadinessCheckRequest, call: Call[Any, Any]) -> pb.ReadinessCheckResponse:
        """See the proto."""
        if self._board.ready():
            return pb.ReadinessCheckResponse(ready=True)
        reasons = [
            f"{name}: {health.message or health.state}"
            for name, health in self._board.services().items()
            if not health.healthy
        ]
        return pb.ReadinessCheckResponse(
            ready=False, not_ready_reasons=reasons or ["the server is starting or stopping"]
        )

    @unary
    async def Liveness(self, request: pb.LivenessCheckRequest, call: Call[Any, Any]) -> pb.LivenessCheckResponse:
        """That it answers is the proof."""
        return pb.LivenessCheckResponse(alive=True)

    async def Watch(self, stream: Call[pb.HealthCheckRequest, pb.HealthCheckResponse]) -> None:
        """See the proto. A component that does not exist is SERVICE_UNKNOWN, and the stream stays open."""
        request = await first(stream)
        with self._rooms.subscriptions.admit():
            changes = self._board.changes
            seen, told = changes.version, None
            while True:
                status = self._status(request.service)
                if status != told:
                    await stream.send_message(pb.HealthCheckResponse(status=status))
                    told = status
                _, seen = await changes.wait_beyond(seen)

    def _status(self, name: str) -> pb.HealthStatus:
        if not name:
            return SERVING if self._board.ready() else NOT_SERVING
        health = self._board.services().get(name)
        return pb.HEALTH_STATUS_SERVICE_UNKNOWN if health is None else component_status(health)


def component_status(health: ServiceHealth) -> pb.HealthStatus:
    """How one service of the tree is shown."""
    if health.state is State.INITIALIZING:
        return pb.HEALTH_STATUS_UNKNOWN
    return SERVING if health.healthy else NOT_SERVING
