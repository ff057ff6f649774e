"""Every service that the gRPC port offers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from grpclib.const import Handler

from optimizer.collector.otlp import Signal
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.services.admin import AdminService
from optimizer.grpc_api.services.config import ConfigService
from optimizer.grpc_api.services.feedback import FeedbackService
from optimizer.grpc_api.services.health import HealthService
from optimizer.grpc_api.services.integrations import IntegrationService
from optimizer.grpc_api.services.metrics import MetricsService
from optimizer.grpc_api.services.optimization import OptimizationService
from optimizer.grpc_api.services.rollouts import RolloutService
from optimizer.grpc_api.services.routing import RoutingService
from optimizer.grpc_api.services.telemetry import TelemetryService


class Offered(Protocol):
    """A service as grpclib's generator writes it."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


SERVICES: tuple[type[Any], ...] = (
    OptimizationService,
    ConfigService,
    MetricsService,
    IntegrationService,
    HealthService,
    AdminService,
    FeedbackService,
    RoutingService,
    RolloutService,
)


def make_services(rooms: Rooms) -> Sequence[Offered]:
    """One of each over the same rooms."""
    return [*(kind(rooms) for kind in SERVICES), *(TelemetryService(rooms, signal) for signal in Signal)]


def later_methods() -> dict[str, str]:
    """The methods that a later version brings, by path, with the reason that they answer with."""
    found: dict[str, str] = {}
    for kind in SERVICES:
        # A mapping needs no rooms: it only names the methods.
        for path, handler in object.__new__(kind).__mapping__().items():
            reason = getattr(handler.func, "reason", None)
            if reason is not None:
                found[path] = reason
    return found
