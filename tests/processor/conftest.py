"""A processor on a memory store, as the tree would run it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import trio

from optimizer.bus import Latest, News, Slot
from optimizer.core import records
from optimizer.model import FeedbackEvent, Listing, Objective, Service, Variant
from optimizer.processor import Processor, run
from optimizer.processor.decisions import LoopSettings
from optimizer.processor.optimizations import Terms
from optimizer.storage import Record, Store
from optimizer.storage.memory import FaultHook, MemoryState, open_memory

KEY = b"k" * 32
SERVICE = Service(
    name="chat",
    objective=Objective(goal="minimize_cost"),
    variants=(Variant(name="a", config={"model": "m1"}), Variant(name="b", config={"model": "m2"})),
    baseline="a",
    segment_by=("task",),
)


@dataclass
class Running:
    """A running processor and what it shares with the others."""

    store: Store
    processor: Processor
    listings: Latest[dict[str, Listing]]
    cancel: Callable[[], None]
    news: News

    async def folded(self, offset: int) -> None:
        """Return when everything up to the offset is folded."""
        seen = self.processor.progress.version
        while self.processor.progress.get() < offset:
            _, seen = await self.processor.progress.wait_beyond(seen)

    async def feed(self, events: list[FeedbackEvent]) -> None:
        """Append the events and wait until they are folded."""
        batch = [
            Record(
                kind=records.FEEDBACK,
                key=e.service,
                payload=records.encode(e),
                dedup=records.idempotency_key(records.FEEDBACK, e.service, e.event_id),
            )
            for e in events
        ]
        offsets = (await self.store.append(batch)).offsets
        await self.folded(max(o for o in offsets if o is not None))


@asynccontextmanager
async def running(
    state: MemoryState,
    *,
    terms: Terms | None = None,
    faults: FaultHook | None = None,
    loop: LoopSettings | None = None,
) -> AsyncIterator[Running]:
    """A processor over the state; leaving the block stops it as the tree would: by cancelling it.

    Its clock is Trio's, a microsecond further at each look.
    """
    counter = count(1)
    slot = Slot[Processor]("processor")
    listings: Latest[dict[str, Listing]] = Latest({})
    news = News()

    async def processor(store: Store, task_status: trio.TaskStatus[None]) -> None:
        await run(
            store,
            listings,
            slot,
            keys=(KEY,),
            now=lambda: 1_750_000_000_000_000 + int(trio.current_time() * 1e6) + next(counter),
            stopwatch=trio.current_time,
            news=news,
            terms=terms,
            loop=None if loop is None else lambda: loop,
            nonce=lambda: next(counter).to_bytes(8, "little"),
            task_status=task_status,
        )

    async with open_memory(state, faults=faults) as store, trio.open_nursery() as nursery:
        await nursery.start(processor, store)
        yield Running(store, slot.get(), listings, nursery.cancel_scope.cancel, news)
        nursery.cancel_scope.cancel()
