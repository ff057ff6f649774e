"""What happens to the process, told on the bus: services changing state, settings changing."""

from collections.abc import Callable

import trio

from optimizer.bus import Latest, Topic
from optimizer.config import Settings, diff
from optimizer.model import Severity, SystemNotice
from optimizer.nurseries.health import HealthBoard, State

SEVERITY: dict[State, Severity] = {State.DEGRADED: "warning", State.FAILED: "error"}


async def tell_services(board: HealthBoard, topic: Topic[SystemNotice], now: Callable[[], int]) -> None:
    """Publish every change of a service's state; states between two looks may be missed. Runs until cancelled."""
    seen, known = board.changes.version, {name: health.state for name, health in board.services().items()}
    while True:
        for name, health in board.services().items():
            if known.get(name) is health.state:
                continue
            known[name] = health.state
            await topic.publish(
                SystemNotice(
                    event_type="service.state",
                    severity=SEVERITY.get(health.state, "info"),
                    message=f"{name} is {health.state}" + (f": {health.message}" if health.message else ""),
                    at=now(),
                    metadata={"service": name, "state": str(health.state)},
                )
            )
        _, seen = await board.changes.wait_beyond(seen)


async def tell_settings(cell: Latest[Settings], topic: Topic[SystemNotice], now: Callable[[], int]) -> None:
    """Publish every change of the settings in force. Runs until cancelled."""
    old, seen = cell.get(), cell.version
    while True:
        new, seen = await cell.wait_beyond(seen)
        changes = diff(old, new).live
        old = new
        if changes:
            said = "; ".join(f"{change.key}: {change.old} -> {change.new}" for change in changes)
            notice = SystemNotice(event_type="config.changed", severity="info", message=said, at=now())
            await topic.publish(notice)


async def tell(
    board: HealthBoard,
    cell: Latest[Settings],
    topic: Topic[SystemNotice],
    now: Callable[[], int],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Both. Runs until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_services, board, topic, now)
        nursery.start_soon(tell_settings, cell, topic, now)
        task_status.started()
