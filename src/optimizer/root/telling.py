"""What is told about the life of the process: log, health board and metrics, each fed from one place."""

from collections.abc import Callable

import structlog
import trio

from optimizer.bus import TopicStatistics
from optimizer.nurseries.health import HealthBoard, State
from optimizer.nurseries.supervisor import Happening, ServiceEvent
from optimizer.observability import Metrics

log = structlog.stdlib.get_logger(__name__)

START_STEPS = 12  # of the founding document; the command line takes the first two
STOP_STEPS = 6


class Topics:
    """The topics and queues whose numbers the metrics show."""

    def __init__(self) -> None:
        self.topics: dict[str, Callable[[], TopicStatistics]] = {}
        self.queues: dict[str, Callable[[], int]] = {}


class Teller:
    """Observer of every supervisor, and the narrator of the start and stop sequences."""

    def __init__(self, board: HealthBoard, metrics: Metrics) -> None:
        self._board = board
        self._metrics = metrics
        self._began = trio.current_time()
        self._stop_began: float | None = None

    def observe(self, event: ServiceEvent) -> None:
        """Log what happened to a service, count it, and bring the board up to date."""
        self._log(event)
        self._board.observe(event)
        if event.happening is Happening.CRASHED:
            self._metrics.service_crashes_total.labels(event.service).inc()
        if event.happening is Happening.RESTARTING:
            self._metrics.service_restarts_total.labels(event.service).inc()

    def start_step(self, number: int, what: str, **details: object) -> None:
        """One of the twelve steps of the start is done."""
        took = round(trio.current_time() - self._began, 3)
        log.info("startup", step=number, of=START_STEPS, done=what, after_s=took, **details)

    def stop_step(self, number: int, what: str, **details: object) -> None:
        """One of the six steps of the stop is done."""
        if self._stop_began is None:
            self._stop_began = trio.current_time()
        took = round(trio.current_time() - self._stop_began, 3)
        log.info("shutdown", step=number, of=STOP_STEPS, done=what, after_s=took, **details)

    def refresh(self, topics: Topics, *, log_lines_dropped: int = 0) -> None:
        """Bring those gauges up to date that nobody sets on change; called before each scrape."""
        metrics, now = self._metrics, trio.current_time()
        for name, service in self._board.services().items():
            running = service.running_since is not None and service.state is not State.STOPPED
            metrics.service_status.labels(name).set(running)
            metrics.service_health.labels(name).set(service.healthy)
            metrics.service_uptime_seconds.labels(name).set(
                0.0 if service.running_since is None else now - service.running_since
            )
        for name, statistics in topics.topics.items():
            numbers = statistics()
            metrics.topic_published_total.labels(name).set(numbers.published)
            metrics.topic_dropped_total.labels(name).set(numbers.dropped)
            metrics.topic_disconnected_total.labels(name).set(numbers.disconnected)
            metrics.topic_subscribers.labels(name).set(numbers.subscribers)
            metrics.queue_items.labels(name).set(numbers.deepest)
        for name, depth in topics.queues.items():
            metrics.queue_items.labels(name).set(depth())
        metrics.log_lines_dropped_total.set(log_lines_dropped)

    def _log(self, event: ServiceEvent) -> None:
        seconds = None if event.seconds is None else round(event.seconds, 3)
        match event.happening:
            case Happening.STARTED:
                log.info("service started", service=event.service, took_s=seconds)
            case Happening.CRASHED:
                log.error("service crashed", service=event.service, exc_info=event.error)
            case Happening.RESTARTING:
                log.warning("service restarts", service=event.service, in_s=seconds)
            case Happening.GIVEN_UP:
                log.error("service given up: it crashed too often", service=event.service, error=repr(event.error))
            case Happening.UNSTOPPED:
                log.error(
                    "service did not stop in its share of the grace time", service=event.service, stack=event.detail
                )
            case Happening.STOPPED:
                log.info("service stopped", service=event.service, took_s=seconds)
            case _:
                log.debug("service", service=event.service, happening=event.happening.value)
