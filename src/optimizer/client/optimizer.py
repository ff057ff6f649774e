"""Every service of the server, ready to call."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from optimizer.client.channel import Channel, open_channel
from optimizer.grpc_api.pb.admin_grpc import AdminServiceStub
from optimizer.grpc_api.pb.config_grpc import ConfigServiceStub
from optimizer.grpc_api.pb.feedback_grpc import FeedbackServiceStub
from optimizer.grpc_api.pb.health_grpc import HealthServiceStub
from optimizer.grpc_api.pb.integrations_grpc import IntegrationServiceStub
from optimizer.grpc_api.pb.metrics_grpc import MetricsServiceStub
from optimizer.grpc_api.pb.optimization_grpc import OptimizationServiceStub
from optimizer.grpc_api.pb.rollouts_grpc import RolloutServiceStub
from optimizer.grpc_api.pb.routing_grpc import RoutingServiceStub


class Client:
    """One stub per service. A method is called with its request, or opened as a stream: `method.open()`.

    Unary: `await client.routing.Decide(request)`. Streams: `async with client.config.WatchConfig.open() as call`.
    """

    def __init__(self, channel: Channel) -> None:
        # The stubs are grpclib's; they use nothing of its asyncio channel but `request`, which ours has.
        of: Any = channel
        self.channel = channel
        self.routing = RoutingServiceStub(of)
        self.feedback = FeedbackServiceStub(of)
        self.rollouts = RolloutServiceStub(of)
        self.optimization = OptimizationServiceStub(of)
        self.config = ConfigServiceStub(of)
        self.metrics = MetricsServiceStub(of)
        self.integrations = IntegrationServiceStub(of)
        self.health = HealthServiceStub(of)
        self.admin = AdminServiceStub(of)


@asynccontextmanager
async def open_client(
    host: str = "127.0.0.1",
    port: int = 50051,
    *,
    token: str | None = None,
    api_key: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """A client of the server at that address; see `open_channel`."""
    async with open_channel(host, port, token=token, api_key=api_key, tls=tls) as channel:
        yield Client(channel)
