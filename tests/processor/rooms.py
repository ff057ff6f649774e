"""Rooms over a memory store, with a clock that the test sets."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from optimizer.bus import News, Overflow, Subscription, Topic
from optimizer.model import Service
from optimizer.processor.administration import Flags, Jobs
from optimizer.processor.entries import Entries
from optimizer.processor.optimizations import Knowledge, Optimizations
from optimizer.processor.optimizations.evidence import VariantRecord
from optimizer.storage import MemoryState, Store, open_memory

T = TypeVar("T")
START = 1_700_000_000_000_000


@dataclass
class Clock:
    """Microseconds since 1970; every look moves it by one second."""

    value: int = START

    def __call__(self) -> int:
        self.value += 1_000_000
        return self.value


@dataclass
class Rooms:
    """Everything that a front door would use."""

    store: Store
    news: News
    clock: Clock
    entries: Entries
    optimizations: Optimizations
    flags: Flags
    jobs: Jobs
    services: dict[str, Service] = field(default_factory=dict)
    records: dict[str, dict[str, VariantRecord]] = field(default_factory=dict)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(lambda: self.services, lambda name: self.records.get(name, {}))


@asynccontextmanager
async def open_rooms(state: MemoryState | None = None) -> AsyncIterator[Rooms]:
    """Fresh rooms over the given state."""
    news, clock = News(), Clock()
    ids = iter(f"opt-{i:06}" for i in range(1_000_000))
    async with open_memory(state) as store:
        yield Rooms(
            store=store,
            news=news,
            clock=clock,
            entries=Entries(store, news.entries, clock),
            optimizations=Optimizations(store, news.optimizations, now=clock, new_id=ids.__next__),
            flags=Flags(store, news.system, clock),
            jobs=Jobs(clock),
        )


def drain(subscription: Subscription[T]) -> list[T]:
    """What waits in the subscription's buffer."""
    found: list[T] = []
    while subscription.depth():
        found.append(subscription.receive_nowait())
    return found


def following(topic: Topic[T]) -> AbstractContextManager[Subscription[T]]:
    """A subscription with room for everything that a test publishes."""
    return topic.subscribe(1000, Overflow.DROP)
