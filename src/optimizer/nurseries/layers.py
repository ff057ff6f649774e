"""Layers: the dependency graph as nesting, so that start order and its exact reverse come from the shape.

Children of a layer do not hear a cancellation from outside until the body of the layer has left (the idea of service
nurseries, trio issue 147): plain nested nurseries would all hear it at once and end in any order.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from optimizer.model import ConfigurationError
from optimizer.nurseries.policy import ServiceSpec
from optimizer.nurseries.stop import Stop
from optimizer.nurseries.supervisor import Happening, Observer, ServiceEvent, Supervisor
from optimizer.nurseries.watchdog import describe_task


class StartFailed(Exception):
    """A service could not be started; its error is the cause."""

    def __init__(self, service: str) -> None:
        super().__init__(f"{service} could not be started")
        self.service = service


class StopRequested(Exception):
    """The stop was requested while a service was starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnstoppedReport:
    """A service that did not stop in its share of the grace time, with the stacks of its tasks at that moment."""

    service: str
    overdue_since: float
    stack: str


def order(specs: Sequence[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    """The services so that each comes after what it needs; among those that could be next, the declared order.

    Kahn's algorithm. Raises `ConfigurationError` naming a cycle, an unknown name or a name declared twice.
    """
    names = [spec.name for spec in specs]
    for spec in specs:
        if names.count(spec.name) > 1:
            raise ConfigurationError(f"service {spec.name!r} is declared more than once")
        for need in spec.needs:
            if need not in names:
                raise ConfigurationError(f"service {spec.name!r} needs {need!r}, which is not declared ({names})")
    placed: list[ServiceSpec] = []
    waiting = list(specs)
    while waiting:
        done = {spec.name for spec in placed}
        ready = next((spec for spec in waiting if done.issuperset(spec.needs)), None)
        if ready is None:
            raise ConfigurationError(f"services need each other in a circle: {' -> '.join(_circle(waiting))}")
        waiting.remove(ready)
        placed.append(ready)
    return tuple(placed)


@dataclass(kw_only=True, eq=False)
class House:
    """What all layers of one tree share: the stop, who is told what happens, randomness, and what did not stop."""

    stop: Stop
    observe: Observer
    rng: random.Random
    supervisors: dict[str, Supervisor] = field(default_factory=dict)
    unstopped: list[UnstoppedReport] = field(default_factory=list)
    _layers: list["Layer"] = field(default_factory=list)

    def cancel_everything(self) -> None:
        """Cancel the children of every layer at once: the end of the grace time, where order no longer counts."""
        for layer in self._layers:
            layer.cancel()

    def tell(
        self, service: str, happening: Happening, *, seconds: float | None = None, detail: str | None = None
    ) -> None:
        """Tell the observer."""
        self.observe(
            ServiceEvent(service=service, happening=happening, at=trio.current_time(), seconds=seconds, detail=detail)
        )


@dataclass(kw_only=True, eq=False)
class _Child:
    spec: ServiceSpec
    scope: trio.CancelScope
    started: bool = False
    left_at: float = 0.0
    task: trio.lowlevel.Task | None = None
    ended: trio.Event = field(default_factory=trio.Event)


class Layer:
    """The supervised children of one layer; made by `open_layer`."""

    def __init__(self, nursery: trio.Nursery, house: House) -> None:
        self._nursery = nursery
        self._house = house
        self._children: list[_Child] = []

    async def start(self, spec: ServiceSpec) -> None:
        """Start a service and wait until it serves. From then on only this layer ends it.

        Raises `StartFailed` from its error, or `StopRequested` when the stop was requested meanwhile.
        """
        supervisor = Supervisor(spec, observe=self._house.observe, rng=self._house.rng)
        self._house.supervisors[spec.name] = supervisor
        child = _Child(spec=spec, scope=trio.CancelScope())
        self._children.append(child)
        with self._house.stop.interrupts_start() as interruption:
            try:
                await self._nursery.start(self._run_child, child, supervisor)
            except Exception as exc:
                raise StartFailed(spec.name) from exc
        if interruption.cancelled_caught:
            raise StopRequested(spec.name)

    def cancel(self) -> None:
        """Cancel every child now."""
        for child in self._children:
            child.scope.cancel()

    async def leave(self, *, drain: bool) -> None:
        """Have the children stop, the last started first: drained if asked for, cancelled at the end of their share."""
        for child in reversed(self._children):
            if child.started:
                await self._leave_child(child, drain=drain)

    def note_stopped(self) -> None:
        """Say that everything here has ended (called once that is so)."""
        for child in reversed(self._children):
            if child.started:
                self._house.tell(child.spec.name, Happening.STOPPED, seconds=trio.current_time() - child.left_at)

    async def _run_child(self, child: _Child, supervisor: Supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        child.task, nursery = trio.lowlevel.current_task(), self._nursery

        class _Shielding:
            """Raises the shield at the moment the service serves: a start can be cancelled from outside."""

            def started(self, value: None = None) -> None:
                task_status.started(value)
                child.started = True
                # A start that was cancelled meanwhile leaves the task with its starter, who must be able to cancel it.
                # The shield's deadline is set by `_leave_child`, which always runs once the body has left.
                child.scope.shield = child.task is not None and child.task.parent_nursery is nursery

        try:
            with child.scope:
                await supervisor.run(task_status=_Shielding())
        finally:
            child.ended.set()

    async def _leave_child(self, child: _Child, *, drain: bool) -> None:
        house, spec = self._house, child.spec
        child.left_at = trio.current_time()
        house.tell(spec.name, Happening.LEAVING)
        deadline = house.stop.deadline(spec.stage)
        if spec.leave is not None:
            spec.leave.set()
            if drain:
                with house.stop.drain_until(deadline - house.stop.grace.unwind_s):
                    await child.ended.wait()
        child.scope.cancel()
        # Cancelled late, it still gets the time to unwind before it is called stuck.
        with trio.move_on_at(max(deadline, trio.current_time() + house.stop.grace.unwind_s)):
            await child.ended.wait()
        if not child.ended.is_set() and child.task is not None:
            report = UnstoppedReport(service=spec.name, overdue_since=deadline, stack=describe_task(child.task))
            house.unstopped.append(report)
            house.tell(spec.name, Happening.UNSTOPPED, detail=report.stack)


@asynccontextmanager
async def open_layer(house: House) -> AsyncIterator[Layer]:
    """A layer around the body. When the body has left, the children stop; then the layer is gone.

    Left normally after a requested stop, children drain; left by an error or a cancellation, they are cancelled.
    What does not stop in its share is reported, and still waited for: nothing outlives its parent.
    """
    layer: Layer | None = None
    try:
        async with trio.open_nursery() as nursery:
            layer = Layer(nursery, house)
            house._layers.append(layer)  # noqa: SLF001 - house and layer are one mechanism
            drain = False
            try:
                yield layer
                drain = True
            finally:
                house.stop.request("the tree fell" if not drain else "the body ended")
                with trio.move_on_at(house.stop.after(house.stop.grace.hard_s), shield=True):
                    await layer.leave(drain=drain)
    finally:
        if layer is not None:
            house._layers.remove(layer)  # noqa: SLF001 - house and layer are one mechanism
            layer.note_stopped()


@asynccontextmanager
async def open_layers(specs: Sequence[ServiceSpec], house: House) -> AsyncIterator[None]:
    """One nested layer for each service, in the order of their needs; all serve when the body begins."""
    async with AsyncExitStack() as stack:
        for spec in order(specs):
            layer = await stack.enter_async_context(open_layer(house))
            await layer.start(spec)
        yield


def _circle(waiting: Sequence[ServiceSpec]) -> list[str]:
    """The names along one circle among services of which each needs another of them."""
    needs = {spec.name: next(n for n in spec.needs if any(n == w.name for w in waiting)) for spec in waiting}
    path = [waiting[0].name]
    while path.count(path[-1]) == 1:
        path.append(needs[path[-1]])
    return path[path.index(path[-1]) :]
