"""What is declared about a service: how it restarts, how much it matters, how long it may take to stop.

The vocabulary is that of Erlang/OTP's supervisor (stdlib `supervisor`, System Documentation "Supervisor Behaviour"):
restart types, and intensity per period. Backoff with full jitter is added to it (AWS Builders' Library, "Timeouts,
retries, and backoff with jitter").
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import trio


class Restart(Enum):
    """When a service that ended is started again."""

    PERMANENT = "permanent"  # always; returning is a crash too
    TRANSIENT = "transient"  # after a crash; returning is success
    TEMPORARY = "temporary"  # never


class Criticality(Enum):
    """What a service does to the process when it can no longer be restarted."""

    DEGRADE = "degrade"  # the service is marked Failed, the rest goes on
    FALL = "fall"  # its layer falls, and the process with it


class Stage(Enum):
    """Which share of the grace time a service has to stop in."""

    EDGE = "edge"
    WORKER = "worker"
    STORE = "store"
    ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays in seconds before a restart: from `base_s` to `cap_s`, doubling; the share `jitter` of each is random.

    With `jitter` 1 (full jitter) a delay is uniform in [0, ceiling]; with 0 it is the ceiling itself.
    """

    base_s: float = 1.0
    cap_s: float = 60.0
    jitter: float = 1.0

    def ceiling(self, crashes: int) -> float:
        """The longest delay after that many recent crashes (1 or more)."""
        doublings = min(max(crashes, 1) - 1, 63)  # 2**63 s is beyond every cap; keeps the float finite
        return float(min(self.cap_s, self.base_s * 2**doublings))

    def delay(self, crashes: int, rng: random.Random) -> float:
        """The delay after that many recent crashes, drawn from `rng`."""
        ceiling = self.ceiling(crashes)
        return ceiling * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """More than `restarts` restarts within `period_s` seconds are too many (OTP's rule, with its strict inequality)."""

    restarts: int = 3
    period_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """The stop budget: seconds after the stop began by which each stage has to be gone.

    A draining service is cancelled `unwind_s` before its stage's deadline, so that it can still unwind inside it.
    At `tree_s` everything is cancelled at once, in no order; at `hard_s` a watchdog outside Trio ends the process.
    """

    lame_duck_s: float = 0.0
    edges_s: float = 10.0
    workers_s: float = 18.0
    stores_s: float = 20.0
    tree_s: float = 25.0
    hard_s: float = 30.0
    unwind_s: float = 1.0

    def share(self, stage: Stage) -> float:
        """Seconds after the stop began by which that stage has to be gone."""
        shares = {
            Stage.EDGE: self.edges_s,
            Stage.WORKER: self.workers_s,
            Stage.STORE: self.stores_s,
            Stage.ROOT: self.tree_s,
        }
        return shares[stage]


class Verdict(Enum):
    """What a probe found."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # works with less; restarting would not help (a dependency is away, say)
    FAILING = "failing"  # counted; at the threshold the service is marked unhealthy and restarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The answer of a health probe: a verdict, a sentence when it is not healthy, numbers worth showing."""

    verdict: Verdict = Verdict.HEALTHY
    message: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


class Run(Protocol):
    """A service: runs until it is told to stop, calls `task_status.started()` once when it can serve."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run; returning before being told to stop, and raising, are judged by the restart type."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service of the tree, declared.

    `leave` is how the service is told to stop: its layer sets it once everything inside has left (an edge may share
    the event that starts the drain), the service drains and returns. A service without one is cancelled at that time.
    `revive_s`: a service given up with DEGRADE is tried again once in that many seconds; None means never.
    """

    name: str
    run: Run
    needs: tuple[str, ...] = ()
    stage: Stage = Stage.WORKER
    restart: Restart = Restart.PERMANENT
    criticality: Criticality = Criticality.DEGRADE
    backoff: Backoff = Backoff()
    intensity: Intensity = Intensity()
    revive_s: float | None = 60.0
    leave: trio.Event | None = None
    probe: Callable[[], Awaitable[Probe]] | None = None
