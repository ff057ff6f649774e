"""grpc.health.v1: what load balancers and Kubernetes ask, told by push the moment it changes."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from optimizer.bus import Latest
from optimizer.grpc_api.calls.stream import Stream
from optimizer.model import Unavailable

SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING
UNKNOWN: Final = HealthCheckResponse.SERVICE_UNKNOWN
CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
ServingStatus: TypeAlias = "HealthCheckResponse.ServingStatus.ValueType"  # exists in the stubs only
HealthStream = Stream[HealthCheckRequest, HealthCheckResponse]


class Standing:
    """The status of the server ("") and of each service. Once stopping, everything is NOT_SERVING for good."""

    def __init__(self, services: Iterable[str]) -> None:
        self._cell: Latest[Mapping[str, ServingStatus]] = Latest(
            {"": NOT_SERVING, **dict.fromkeys(services, NOT_SERVING)}
        )
        self._stopping = False

    def set(self, serving: bool, *services: str) -> None:
        """Set the status of some services, of all and the server when none is named. No effect while stopping."""
        if self._stopping:
            return
        now = self._cell.get()
        changed = dict.fromkeys(services or now, SERVING if serving else NOT_SERVING)
        self._cell.set({**now, **{name: status for name, status in changed.items() if name in now}})

    def stop(self) -> None:
        """Everything is NOT_SERVING from now on; watchers hear it at once."""
        self._stopping = True
        self._cell.set(dict.fromkeys(self._cell.get(), NOT_SERVING))

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def get(self, service: str) -> "ServingStatus | None":
        """The status of a service; None for one that does not exist."""
        return self._cell.get().get(service)

    @property
    def changes(self) -> "Latest[Mapping[str, ServingStatus]]":
        """The statuses of all services, to wait on."""
        return self._cell


class Health:
    """The standard service over a `Standing`."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def __mapping__(self) -> Mapping[str, Handler]:
        return {
            CHECK: Handler(self.check, Cardinality.UNARY_UNARY, HealthCheckRequest, HealthCheckResponse),
            WATCH: Handler(self.watch, Cardinality.UNARY_STREAM, HealthCheckRequest, HealthCheckResponse),
        }

    async def check(self, stream: HealthStream) -> None:
        """The status now; NOT_FOUND for a service that does not exist."""
        request = await stream.recv_message()
        status = None if request is None else self._standing.get(request.service)
        if status is None:
            raise GRPCError(Status.NOT_FOUND, "no such service")
        await stream.send_message(HealthCheckResponse(status=status))

    async def watch(self, stream: HealthStream) -> None:
        """The status at once and after every change; SERVICE_UNKNOWN for a service that does not exist.

        It ends with UNAVAILABLE when the server stops, after its last message: a drain need not wait for watchers.
        """
        request = await stream.recv_message()
        service = "" if request is None else request.service
        cell = self._standing.changes
        told: ServingStatus | None = None
        version = cell.version
        while True:
            status = cell.get().get(service, UNKNOWN)
            if status != told:
                told = status
                await stream.send_message(HealthCheckResponse(status=status))
            if self._standing.stopping:
                raise Unavailable("the server is stopping")
            _, version = await cell.wait_beyond(version)
