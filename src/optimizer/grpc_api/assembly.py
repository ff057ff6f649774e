"""Every service that the gRPC port offers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from grpclib.const import Handler

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


class Offered(Protocol):
    """A service as grpclib's generator writes it."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


def make_services(rooms: Rooms) -> Sequence[Offered]:
    """One of each over the same rooms."""
    return [
        OptimizationService(rooms),
        ConfigService(rooms),
        MetricsService(rooms),
        IntegrationService(),
        HealthService(rooms),
        AdminService(rooms),
        FeedbackService(rooms),
        RoutingService(rooms),
        RolloutService(rooms),
    ]


def pending_methods(services: Sequence[Offered]) -> dict[str, str]:
    """The methods that a later version brings, by path, with the reason that they answer with."""
    handlers = {path: handler.func for service in services for path, handler in service.__mapping__().items()}
    return {path: reason for path, func in handlers.items() if (reason := getattr(func, "reason", None)) is not None}
