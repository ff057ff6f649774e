"""What operators see of the connections: gauges, counters, and a log line for what should not happen."""

import structlog

from optimizer.grpc_api.transport import Connection, Ending, Peer
from optimizer.observability import Metrics

log = structlog.stdlib.get_logger(__name__)


class Watching:
    """A `Watcher` over the process's metrics: `active_connections{service="grpc_api"}` and two counters of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._open = metrics.active_connections.labels("grpc_api")
        self._ended = metrics.grpc_connections_ended_total
        self._refused = metrics.grpc_connections_refused_total

    def opened(self, peer: Peer) -> None:  # noqa: ARG002  # the interface
        self._open.inc()

    def refused(self, address: str, reason: str) -> None:
        kind = reason.partition(":")[0]
        self._refused.labels(kind).inc()
        log.info("gRPC connection refused", peer=address, reason=reason)

    def closed(self, connection: Connection) -> None:
        self._open.dec()
        ending = connection.ending or Ending.PEER
        detail = connection.detail if ending is Ending.FLOOD else ""  # others could be chosen by the peer
        self._ended.labels(ending.value, detail).inc()
        if ending is Ending.FAULT:
            log.error("gRPC connection failed", peer=connection.peer.address, detail=connection.detail)
        elif ending in (Ending.FLOOD, Ending.VIOLATION):
            log.warning("gRPC peer broke the rules", peer=connection.peer.address, detail=connection.detail)

    def failed(self, address: str, error: BaseException) -> None:
        self._ended.labels(Ending.FAULT.value, "").inc()
        log.error("gRPC connection failed", peer=address, exc_info=error)
