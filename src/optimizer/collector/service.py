"""The collector as a service of the tree: it provides the intake while it runs."""

from collections.abc import Callable, Mapping

import trio

from optimizer.bus import Slot
from optimizer.collector.intake import Bounds, Intake, Price
from optimizer.model import Listing
from optimizer.storage import Log


async def run(
    log: Log,
    listings: Callable[[], Mapping[str, Listing]],
    intake: Slot[Intake],
    *,
    keys: tuple[bytes, ...],
    price: Price,
    now: Callable[[], int],
    bounds: Bounds,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Provide the intake until cancelled; a call in progress then ends with its caller."""
    door = Intake(log, listings, keys=keys, price=price, now=now, bounds=bounds)
    with intake.provide(door):
        task_status.started()
        await trio.sleep_forever()
