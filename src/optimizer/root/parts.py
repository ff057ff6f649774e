"""What the services of one process share, and the outside world as the tree sees it."""

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optimizer.bus import Latest, News
from optimizer.config import Settings, Supervision
from optimizer.nurseries.health import HealthBoard
from optimizer.nurseries.policy import Backoff, Grace, Intensity, ServiceSpec
from optimizer.nurseries.stop import Stop
from optimizer.nurseries.watchdog import Watchdog
from optimizer.observability import Listen, LogControl, Metrics, ServiceManager, listen_tcp, make_metrics
from optimizer.root.operator import Operator
from optimizer.root.reload import Reloader
from optimizer.root.telling import Topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The outside world; a simulation hands in its own.

    `load` reads the configuration again, `rng` is the source of jitter, `on_port` is told where the operator's
    endpoint listens. `now` is the wall clock in microseconds since 1970, `nonce` gives 8 unpredictable bytes,
    `stopwatch` measures in seconds.
    """

    load: Callable[[], Settings]
    rng: random.Random
    listen: Listen = listen_tcp
    signals: bool = True
    logging: LogControl | None = None
    watchdog: Watchdog | None = None
    manager: ServiceManager | None = None
    on_port: Callable[[str, int], None] | None = None
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    nonce: Callable[[], bytes] = lambda: os.urandom(8)
    stopwatch: Callable[[], float] = time.perf_counter

    def watched_by(self, watchdog: Watchdog) -> "Surroundings":
        """The same surroundings with a watchdog."""
        return replace(self, watchdog=watchdog)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services of one process share; the service table is made from it."""

    settings: Latest[Settings]
    stop: Stop
    board: HealthBoard
    metrics: Metrics
    topics: Topics
    news: News
    reloader: Reloader
    operator: Operator
    around: Surroundings


Declare = Callable[[Parts], Sequence[ServiceSpec]]


def make_parts(settings: Settings, around: Surroundings) -> Parts:
    """Fresh parts for one run of the tree. Must be called inside Trio."""
    cell, metrics, news = Latest(settings), make_metrics(), News()
    stop = Stop(grace_of(settings.supervision))
    reloader = Reloader(cell, around.load, metrics, logging=around.logging, manager=around.manager)
    topics = Topics()
    topics.topics.update({topic.name: topic.statistics for topic in news.topics()})
    return Parts(
        settings=cell,
        stop=stop,
        board=HealthBoard(threshold=settings.supervision.failure_threshold),
        metrics=metrics,
        topics=topics,
        news=news,
        reloader=reloader,
        operator=Operator(stop, reloader, around.logging),
        around=around,
    )


def grace_of(supervision: Supervision) -> Grace:
    """The stop budget as configured."""
    return Grace(
        lame_duck_s=supervision.lame_duck_s,
        edges_s=supervision.grace_edges_s,
        workers_s=supervision.grace_workers_s,
        stores_s=supervision.grace_stores_s,
        tree_s=supervision.grace_tree_s,
        hard_s=supervision.hard_limit_s,
    )


def backoff_of(supervision: Supervision) -> Backoff:
    """The restart delays as configured, with full jitter."""
    return Backoff(base_s=supervision.backoff_base_s, cap_s=supervision.backoff_max_s)


def intensity_of(supervision: Supervision) -> Intensity:
    """The restart limit as configured."""
    return Intensity(restarts=supervision.max_restart_attempts, period_s=supervision.restart_period_s)
