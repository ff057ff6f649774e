"""The one settings tree: every key that the server knows, its default and its bounds."""

import ipaddress
from typing import Self

from pydantic import model_validator

from optimizer.config.fields import Section
from optimizer.config.guards import Decisions, Limits, Security, Supervision
from optimizer.config.sections import (
    Collector,
    GrpcApi,
    Integrations,
    Observability,
    Processor,
    RestApi,
    Service,
    Storage,
)


class Settings(Section):
    """All settings, immutable. The defaults need no file, no other server, and listen on loopback only."""

    service: Service = Service()
    collector: Collector = Collector()
    processor: Processor = Processor()
    rest_api: RestApi = RestApi()
    grpc_api: GrpcApi = GrpcApi()
    storage: Storage = Storage()
    integrations: Integrations = Integrations()
    observability: Observability = Observability()
    security: Security = Security()
    limits: Limits = Limits()
    supervision: Supervision = Supervision()
    decisions: Decisions = Decisions()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.security.auth_enabled and not is_loopback(self.service.host):
            raise ValueError(
                f"security.auth_enabled = false needs a loopback service.host (127.0.0.1, ::1 or localhost), "
                f"not {self.service.host!r}: a server without authentication must not be reachable from outside"
            )
        self._check_ports()
        return self

    def _check_ports(self) -> None:
        taken: dict[int, str] = {}
        ports = {
            "rest_api.port": self.rest_api.port if self.rest_api.enabled else 0,
            "grpc_api.port": self.grpc_api.port if self.grpc_api.enabled else 0,
            "observability.metrics_port": self.observability.metrics_port,
            "collector.otlp_grpc_port": self.collector.otlp_grpc_port or 0,
            "collector.otlp_http_port": self.collector.otlp_http_port or 0,
        }
        if self.service.environment != "development":
            names = ("rest_api.port", "grpc_api.port", "observability.metrics_port")
            enabled = (self.rest_api.enabled, self.grpc_api.enabled, True)
            for name, used in zip(names, enabled, strict=True):
                if used and not ports[name]:
                    raise ValueError(f'{name} = 0 (any free port) is for service.environment = "development" only')
        for name, port in ports.items():
            if port and taken.setdefault(port, name) != name:
                raise ValueError(f"{name} and {taken[port]} are both {port}: each interface needs its own port")


def is_loopback(host: str) -> bool:
    """Whether binding to the host makes the port reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may point anywhere
