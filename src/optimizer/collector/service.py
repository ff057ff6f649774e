"""The collector as a service of the tree: it provides the intake while it runs."""

from collections.abc import Callable, Mapping

import trio

from optimizer.bus import Slot
from optimizer.collector.intake import Bounds, Intake, Price, Rules, count_nothing
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
    rules: Rules | None = None,
    count: Callable[[str, str, int], None] = count_nothing,
    warm: Callable[[], None] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Provide the intake until cancelled; a call in progress then ends with its caller.

    `count` is told source, result and number of what was taken in. `warm` prepares what the first event would else wait
    for; it runs in a thread, which a cancellation leaves behind.
    """
    door = Intake(log, listings, keys=keys, price=price, now=now, bounds=bounds, rules=rules, count=count)
    with intake.provide(door):
        task_status.started()
        if warm is not None:
            await trio.to_thread.run_sync(warm, abandon_on_cancel=True)
        await trio.sleep_forever()
