"""Stand-in services for life-cycle scenarios: each does what its script says, and everything is written to one log."""

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import trio

from optimizer.nurseries import (
    Backoff,
    Criticality,
    Grace,
    Happening,
    House,
    Restart,
    ServiceEvent,
    ServiceSpec,
    Stage,
    Stop,
    open_layers,
)

ORDER = ("storage", "collector", "integrations", "processor", "rest_api", "grpc_api")
EDGES = ("rest_api", "grpc_api")
STARTS = [f"started {name}" for name in ORDER]
STOPS = [f"stopped {name}" for name in reversed(ORDER)]
SHOWN = (Happening.STARTED, Happening.CRASHED, Happening.GIVEN_UP, Happening.UNSTOPPED, Happening.STOPPED)


class Boom(Exception):
    """The crash of a stand-in."""


@dataclass(eq=False)
class StandIn:
    """A service that serves until told to leave, takes `drain_s` to drain, and crashes when asked."""

    name: str
    leave: trio.Event
    drain_s: float = 0.0
    start_s: float = 0.0
    start_error: Exception | None = None
    stubborn_s: float = 0.0
    crash: trio.Event = field(default_factory=trio.Event)
    crash_at_once: int = 0
    runs: int = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve."""
        self.runs += 1
        await trio.sleep(self.start_s)
        if self.start_error is not None:
            raise self.start_error
        task_status.started()
        if self.runs > 1 and self.crash_at_once >= self.runs - 1:
            raise Boom(self.name)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._crash)
                await self.leave.wait()
                await trio.sleep(self.drain_s)
                nursery.cancel_scope.cancel()
        finally:
            if self.stubborn_s:
                with trio.move_on_after(self.stubborn_s, shield=True):
                    await trio.sleep(math.inf)

    async def _crash(self) -> None:
        await self.crash.wait()
        self.crash = trio.Event()
        raise Boom(self.name)


class Scenario:
    """The six services as stand-ins in their real order, and what was observed."""

    def __init__(self, grace: Grace | None = None) -> None:
        self.stop = Stop(grace)
        self.events: list[ServiceEvent] = []
        self.house = House(stop=self.stop, observe=self.events.append, rng=random.Random(7))
        self.services = {name: StandIn(name, self.stop.draining if name in EDGES else trio.Event()) for name in ORDER}
        self.specs = [self._spec(name) for name in ORDER]

    def _spec(self, name: str) -> ServiceSpec:
        needs = {"processor": ("collector", "storage"), "rest_api": ("processor", "storage")}
        needs["grpc_api"] = needs["rest_api"]
        stage = Stage.EDGE if name in EDGES else Stage.STORE if name == "storage" else Stage.WORKER
        return ServiceSpec(
            name=name,
            run=self.services[name].run,
            needs=needs.get(name, ()),
            stage=stage,
            restart=Restart.TRANSIENT,
            criticality=Criticality.FALL if name == "storage" else Criticality.DEGRADE,
            leave=self.services[name].leave,
            backoff=Backoff(jitter=0.0),
        )

    def declare(self, name: str, **changes: object) -> None:
        """Change the declaration of one service."""
        at = ORDER.index(name)
        self.specs[at] = replace(self.specs[at], **changes)  # type: ignore[arg-type]

    async def run(self, body: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start everything, run the body, wait for the drain to begin, stop everything."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.stop.run_lame_duck)
            async with open_layers(self.specs, self.house):
                if body is not None:
                    nursery.start_soon(body)
                await self.stop.draining.wait()

    def log(self, shown: Sequence[Happening] = SHOWN) -> list[str]:
        """What happened, in order, as short words."""
        return [f"{event.happening.value} {event.service}" for event in self.events if event.happening in shown]
