"""Health: what each service says and does, in the words and the JSON shape of the founding document's `GET /health`.

Liveness never looks at services or dependencies: a database outage must not have every replica killed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import trio

from optimizer.bus import Latest
from optimizer.nurseries.policy import Criticality, Probe, ServiceSpec, Stage, Verdict
from optimizer.nurseries.supervisor import Happening, ServiceEvent, Supervisor

Status = Literal["healthy", "degraded", "unhealthy"]


class State(StrEnum):
    """Where a service is in its life."""

    INITIALIZING = "Initializing"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    SHUTTING_DOWN = "ShuttingDown"
    STOPPED = "Stopped"
    FAILED = "Failed"


@dataclass(kw_only=True, slots=True)
class ServiceHealth:
    """One service on the board. `healthy`: it serves, and its probe has not failed as often as the threshold."""

    critical: bool
    edge: bool = False
    state: State = State.INITIALIZING
    healthy: bool = False
    consecutive_failures: int = 0
    message: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    running_since: float | None = None
    restarts: int = 0


class HealthBoard:
    """The health of every service of the tree; fed by the supervisors' events and by probes.

    `changes` rises by one at every change, so that a watcher can wait for the next.
    """

    def __init__(self, specs: Iterable[ServiceSpec] = (), *, threshold: int = 3) -> None:
        self.threshold = threshold
        self.changes: Latest[int] = Latest(0)
        self._services: dict[str, ServiceHealth] = {}
        self.declare(specs)
        self._began = trio.current_time()
        self._open = False
        self._stopping = False

    def declare(self, specs: Iterable[ServiceSpec]) -> None:
        """Put services on the board, in this order."""
        for spec in specs:
            self._services[spec.name] = ServiceHealth(
                critical=spec.criticality is Criticality.FALL, edge=spec.stage is Stage.EDGE
            )

    def observe(self, event: ServiceEvent) -> None:
        """Take in what happened to a service; names that are not on the board are passed over."""
        service = self._services.get(event.service)
        if service is None:
            return
        match event.happening:
            case Happening.STARTING if service.state is not State.FAILED and service.restarts == 0:
                service.state, service.message = State.INITIALIZING, None
            case Happening.STARTED:
                service.state, service.healthy, service.message = State.RUNNING, True, None
                service.consecutive_failures, service.running_since = 0, event.at
            case Happening.CRASHED:
                service.healthy, service.running_since = False, None
                service.consecutive_failures += 1
                service.state, service.message = State.DEGRADED, f"crashed: {_words(event.error)}"
            case Happening.RESTARTING:
                service.restarts += 1
            case Happening.GIVEN_UP:
                service.state, service.message = State.FAILED, f"given up after {_words(event.error)}"
            case Happening.LEAVING | Happening.DONE if service.state is not State.FAILED:
                service.state = State.SHUTTING_DOWN
            case Happening.STOPPED:
                service.state = State.FAILED if service.state is State.FAILED else State.STOPPED
                service.healthy, service.running_since = False, None
            case Happening.UNSTOPPED:
                service.message = "did not stop in its share of the grace time"
            case _:
                return
        self._changed()

    def judge(self, name: str, probe: Probe) -> bool:
        """Take in a probe's answer; true when the service has just failed as often as the threshold allows."""
        service = self._services[name]
        if service.state not in (State.RUNNING, State.DEGRADED) or service.running_since is None:
            return False
        before = (service.state, service.healthy, service.message)
        service.metadata = dict(probe.metadata)
        service.message = probe.message
        failing = probe.verdict is Verdict.FAILING
        service.consecutive_failures = service.consecutive_failures + 1 if failing else 0
        service.healthy = service.consecutive_failures < self.threshold
        service.state = State.RUNNING if probe.verdict is Verdict.HEALTHY else State.DEGRADED
        if before != (service.state, service.healthy, service.message):
            self._changed()
        return failing and service.consecutive_failures == self.threshold

    def say(self, name: str, *, message: str | None = None, **metadata: str) -> None:
        """Have a service show a message and numbers of its own beside its state."""
        service = self._services[name]
        service.message = message
        service.metadata.update(metadata)
        self._changed()

    def open(self) -> None:
        """Every service has been started once: the process may be ready."""
        self._open = True
        self._changed()

    def close(self) -> None:
        """The stop was requested: not ready from this moment on."""
        self._stopping = True
        self._changed()

    def status(self) -> Status:
        """Unhealthy: a critical service does not serve. Degraded: something does not work as it should."""
        alive = [s for s in self._services.values() if s.state not in (State.SHUTTING_DOWN, State.STOPPED)]
        if any(s.critical and not s.healthy for s in alive):
            return "unhealthy"
        if any(not s.healthy or s.state is State.DEGRADED for s in alive):
            return "degraded"
        return "healthy"

    def ready(self) -> bool:
        """Whether new work should be sent here: all started, no stop requested, edges and critical services up."""
        up = all(s.healthy for s in self._services.values() if s.critical or s.edge)
        return self._open and not self._stopping and up

    def service(self, name: str) -> ServiceHealth:
        """The entry of one service; raises KeyError for a name that is not on the board."""
        return self._services[name]

    def services(self) -> Mapping[str, ServiceHealth]:
        """Every entry, in the declared order."""
        return self._services

    def report(self) -> dict[str, object]:
        """The body of `GET /health`."""
        return {
            "status": self.status(),
            "uptime_secs": int(trio.current_time() - self._began),
            "services": {
                name: {
                    "state": str(s.state),
                    "healthy": s.healthy,
                    "consecutive_failures": s.consecutive_failures,
                    "message": s.message,
                    "metadata": dict(s.metadata),
                }
                for name, s in self._services.items()
            },
        }

    def _changed(self) -> None:
        self.changes.set(self.changes.get() + 1)


async def run_probes(
    probes: Mapping[str, Callable[[], Awaitable[Probe]]],
    board: HealthBoard,
    supervisors: Mapping[str, Supervisor],
    *,
    interval_s: float = 30.0,
    patience_s: float = 5.0,
    recover: bool = True,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Ask every serving service for its health each `interval_s`; restart one that fails too often in a row.

    The probes of one round run side by side, so that a slow one delays no other. A probe that raises or takes longer
    than `patience_s` counts as failing; `board.threshold` failures in a row restart the service (if `recover`).
    Runs until cancelled.
    """

    async def ask(name: str, probe: Callable[[], Awaitable[Probe]]) -> None:
        answer = Probe(verdict=Verdict.FAILING, message=f"no answer within {patience_s:g} s")
        try:
            with trio.move_on_after(patience_s):
                answer = await probe()
        except Exception as exc:  # noqa: BLE001 - a probe that raises is an answer, and is shown as one
            answer = Probe(verdict=Verdict.FAILING, message=_words(exc))
        if board.judge(name, answer) and recover:
            supervisors[name].recycle(f"{board.threshold} failed health checks: {answer.message}")

    task_status.started()
    while True:
        async with trio.open_nursery() as nursery:
            for name, probe in probes.items():
                if name in supervisors and supervisors[name].serving:
                    nursery.start_soon(ask, name, probe)
        await trio.sleep(interval_s)


def _words(error: BaseException | None) -> str:
    return "unknown error" if error is None else f"{type(error).__name__}: {error}"
