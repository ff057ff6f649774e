"""The store as a process sees it: the memory store over state that outlives the process, behind bad weather."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from optimizer.model import StorageUnavailable
from optimizer.storage import Appended, Cursor, Delete, Document, Entry, Put, Record, Store, StoreHealth
from optimizer.storage.memory import MemoryState, open_memory


@dataclass(kw_only=True)
class Weather:
    """What goes wrong between a process and its store, until the given times. `slow_s` is the longest extra delay.

    `failing` is the share of calls that fail: at 1.0 the store's server is away. `refuses` tells whether the process's
    breaker is open now; `intruders` counts calls that came all the same.
    """

    rng: random.Random
    slow_s: float = 0.0
    errors_until: float = 0.0
    failing: float = 0.5
    hangs_until: float = 0.0
    slow_until: float = 0.0
    power: bool = True
    failed: int = 0
    refuses: Callable[[], bool] = lambda: False
    intruders: int = 0

    async def before(self) -> None:
        """Before the effect: an error here means that nothing happened."""
        now = trio.current_time()
        self.intruders += self.refuses()
        self._check_power()
        if now < self.hangs_until:
            await trio.sleep_until(self.hangs_until)
        if now < self.slow_until:
            await trio.sleep(self.rng.random() * self.slow_s)
        if now < self.errors_until and self.rng.random() < self.failing:
            self.failed += 1
            raise StorageUnavailable("simulated: the store cannot be reached")
        self._check_power()

    async def after(self) -> None:
        """After the effect: an error here means that it happened, and that nobody was told."""
        if trio.current_time() < self.errors_until and self.rng.random() < self.failing:
            self.failed += 1
            raise StorageUnavailable("simulated: the answer of the store was lost")
        if trio.current_time() < self.slow_until:
            await trio.sleep(self.rng.random() * self.slow_s)

    def _check_power(self) -> None:
        if not self.power:
            raise StorageUnavailable("simulated: this process is dead")


class WeatheredStore:
    """A `Store` behind the weather."""

    def __init__(self, store: Store, weather: Weather) -> None:
        self._store = store
        self._weather = weather

    async def append(self, records: Sequence[Record]) -> Appended:
        await self._weather.before()
        done = await self._store.append(records)
        await self._weather.after()
        return done

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        await self._weather.before()
        return await self._store.read(after, limit)

    async def end(self) -> int:
        await self._weather.before()
        return await self._store.end()

    async def wait_beyond(self, offset: int) -> None:
        await self._store.wait_beyond(offset)

    async def get(self, key: str) -> Document | None:
        await self._weather.before()
        return await self._store.get(key)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        await self._weather.before()
        return await self._store.scan(prefix, after=after, limit=limit)

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        await self._weather.before()
        done = await self._store.commit(changes, cursor)
        await self._weather.after()
        return done

    async def cursor(self, name: str) -> int:
        await self._weather.before()
        return await self._store.cursor(name)

    async def health(self) -> StoreHealth:
        now = trio.current_time()
        bad = now < self._weather.errors_until or now < self._weather.hangs_until or not self._weather.power
        return StoreHealth(mode="postgres", writable=not bad, message="simulated: bad weather" if bad else None)


@asynccontextmanager
async def open_weathered(state: MemoryState, weather: Weather) -> AsyncIterator[WeatheredStore]:
    """The store over the state that survives the process."""
    async with open_memory(state) as store:
        yield WeatheredStore(store, weather)
