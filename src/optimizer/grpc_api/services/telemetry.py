"""OTLP over gRPC: the three services that OpenTelemetry exporters call (opentelemetry.proto.collector)."""

from collections.abc import Mapping
from typing import Any, Self

from grpclib.const import Cardinality, Handler
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from optimizer.collector.otlp import Media, Signal, export, reply_to
from optimizer.grpc_api.handling import Call, unary
from optimizer.grpc_api.rooms import Rooms

PATHS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_REPLIES = {
    Signal.TRACES: ExportTraceServiceResponse,
    Signal.LOGS: ExportLogsServiceResponse,
    Signal.METRICS: ExportMetricsServiceResponse,
}


class Body(bytes):
    """A request as it came: one damaged span in it must not cost the others, so it is read piece by piece later."""

    __slots__ = ()

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        """The bytes themselves."""
        return cls(data)

    def SerializeToString(self) -> bytes:
        """The bytes themselves."""
        return bytes(self)


class TelemetryService:
    """The Export method of one signal."""

    def __init__(self, rooms: Rooms, signal: Signal) -> None:
        self._rooms = rooms
        self._signal = signal

    @unary
    async def Export(self, request: Body, call: Call[Any, Any]) -> Any:
        """See OTLP: partial success tells what was refused; RESOURCE_EXHAUSTED and UNAVAILABLE carry RetryInfo."""
        outcome = await export(self._rooms.intake.get(), self._signal, request, Media.PROTOBUF)
        return reply_to(self._signal, outcome)

    def __mapping__(self) -> Mapping[str, Handler]:
        """What grpclib's generator would write."""
        return {PATHS[self._signal]: Handler(self.Export, Cardinality.UNARY_UNARY, Body, _REPLIES[self._signal])}
