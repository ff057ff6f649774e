"""The metrics of the process, in a registry of their own (made by a function: two trees in one process do not clash).

The first eight names are the founding document's.
"""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

DURATION_BUCKETS = tuple(0.001 * 2**k for k in range(10))  # 1 ms to 512 ms, exponential
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Every metric that the mechanism feeds; rooms add their own to `registry`."""

    registry: CollectorRegistry
    service_status: Gauge
    service_health: Gauge
    service_uptime_seconds: Gauge
    requests_total: Counter
    request_duration_seconds: Histogram
    active_connections: Gauge
    memory_usage_bytes: Gauge
    cpu_usage_percent: Gauge
    service_restarts_total: Counter
    service_crashes_total: Counter
    open_descriptors: Gauge
    threads: Gauge
    topic_published_total: Gauge
    topic_dropped_total: Gauge
    topic_disconnected_total: Gauge
    topic_subscribers: Gauge
    queue_items: Gauge
    log_lines_dropped_total: Gauge
    config_reloads_total: Counter
    config_reload_failed: Gauge
    breaker_state: Gauge
    grpc_connections_ended_total: Counter
    grpc_connections_refused_total: Counter
    intake_items_total: Counter

    def request_done(self, operation: str, status: str, seconds: float) -> None:
        """Count an answered request. The caller keeps both labels to a known, small set."""
        self.requests_total.labels(operation, status).inc()
        self.request_duration_seconds.labels(operation, status).observe(seconds)

    def expose(self) -> bytes:
        """The Prometheus text format of everything in the registry."""
        return generate_latest(self.registry)


def make_metrics() -> Metrics:
    """Fresh metrics in a fresh registry."""
    registry = CollectorRegistry(auto_describe=False)

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=registry)

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=registry)

    return Metrics(
        registry=registry,
        service_status=gauge("service_status", "1 while the service runs, else 0", "service"),
        service_health=gauge("service_health", "1 while the service is healthy, else 0", "service"),
        service_uptime_seconds=gauge("service_uptime_seconds", "Seconds since the service last started", "service"),
        requests_total=counter("requests_total", "Requests answered", "operation", "status"),
        request_duration_seconds=Histogram(
            "request_duration_seconds",
            "Time to answer a request",
            ("operation", "status"),
            buckets=DURATION_BUCKETS,
            registry=registry,
        ),
        active_connections=gauge("active_connections", "Open client connections", "service"),
        memory_usage_bytes=gauge("memory_usage_bytes", "Resident memory of the process"),
        cpu_usage_percent=gauge("cpu_usage_percent", "CPU use of the process since the last sample, 100 is one core"),
        service_restarts_total=counter("service_restarts_total", "Restarts by the supervisor", "service"),
        service_crashes_total=counter("service_crashes_total", "Crashes seen by the supervisor", "service"),
        open_descriptors=gauge("open_descriptors", "Open file descriptors of the process"),
        threads=gauge("threads", "Threads of the process"),
        topic_published_total=gauge("topic_published_total", "Items published since the start", "topic"),
        topic_dropped_total=gauge("topic_dropped_total", "Items not delivered to a slow subscriber", "topic"),
        topic_disconnected_total=gauge("topic_disconnected_total", "Subscribers cut off for being slow", "topic"),
        topic_subscribers=gauge("topic_subscribers", "Subscribers now", "topic"),
        queue_items=gauge("queue_items", "Items waiting in a bounded queue (a topic's fullest buffer)", "queue"),
        log_lines_dropped_total=gauge("log_lines_dropped_total", "Log lines lost to a slow or closed output"),
        config_reloads_total=counter("config_reloads_total", "Configuration reloads", "result"),
        config_reload_failed=gauge("config_reload_failed", "1 after a reload was refused, until one succeeds"),
        breaker_state=gauge("breaker_state", "0 closed, 1 half-open, 2 open", "breaker"),
        grpc_connections_ended_total=counter(
            "grpc_connections_ended_total", "gRPC connections that ended, by why", "why", "detail"
        ),
        grpc_connections_refused_total=counter(
            "grpc_connections_refused_total", "gRPC connections refused before they could serve", "why"
        ),
        intake_items_total=counter(
            "intake_items_total",
            "Items that arrived: taken, duplicate, refused (the sender is told why) or ignored (about something else)",
            "source",
            "result",
        ),
    )
