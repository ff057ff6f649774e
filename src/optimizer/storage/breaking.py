"""The store behind a circuit breaker, when it is a server of its own: while it is away, callers hear so at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from optimizer.model import StorageUnavailable
from optimizer.nurseries.breaker import Breaker, BreakerOpen, BreakerPolicy, BreakerState
from optimizer.storage.protocols import Appended, Cursor, Delete, Document, Entry, Put, Record, Store, StoreHealth

POLICY = BreakerPolicy(minimum_calls=5, failure_ratio=0.5, window_s=10.0, window_calls=20, open_s=2.0, probes=3)
"""Few calls, so that an idle server sees an outage within seconds. Open for 2 s: one lost group fails many callers at
once, and three small calls every two seconds cost a database nothing."""

MakeBreaker = Callable[[str, BreakerPolicy, tuple[type[Exception], ...]], Breaker]


async def guard_store(store: Store, make: MakeBreaker) -> Store:
    """The store behind a breaker of its name when it is reached over a network, else the store itself.

    A local file needs none: it answers at once whether it can write, and nobody is spared by not asking it.
    """
    mode = (await store.health()).mode
    if mode != "postgres":
        return store
    return BreakingStore(store, make(mode, POLICY, (StorageUnavailable,)))


class BreakingStore:
    """A `Store` whose calls are refused with `StorageUnavailable` and a retry hint while the breaker is open.

    Only `StorageUnavailable` counts as a failure: every other error is an answer. Cancelled calls are never counted.
    What the store does by itself to come back (a group writer's probe, a listener's reconnection) is not held up.
    """

    def __init__(self, store: Store, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`."""
        with self._asking():
            return await self._store.append(records)

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """See `Log.read`."""
        with self._asking():
            return await self._store.read(after, limit)

    async def end(self) -> int:
        """See `Log.end`."""
        with self._asking():
            return await self._store.end()

    async def wait_beyond(self, offset: int) -> None:
        """See `Log.wait_beyond`. Never a probe: a call that may take for ever would hold up the others' verdict."""
        if self._breaker.state is not BreakerState.CLOSED:
            raise StorageUnavailable(f"{self._breaker.name} is being tried")
        with self._asking():
            await self._store.wait_beyond(offset)

    async def get(self, key: str) -> Document | None:
        """See `Documents.get`."""
        with self._asking():
            return await self._store.get(key)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """See `Documents.scan`."""
        with self._asking():
            return await self._store.scan(prefix, after=after, limit=limit)

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """See `Documents.commit`."""
        with self._asking():
            return await self._store.commit(changes, cursor)

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        with self._asking():
            return await self._store.cursor(name)

    async def health(self) -> StoreHealth:
        """See `Store.health`; not writable while the breaker is not closed."""
        health, state = await self._store.health(), self._breaker.state
        details = {**(health.details or {}), "breaker": state.name.lower(), "refused": str(self._breaker.refused)}
        if state is BreakerState.CLOSED:
            return replace(health, details=details)
        message = health.message or f"the breaker of {self._breaker.name} is {details['breaker'].replace('_', '-')}"
        return replace(health, writable=False, message=message, details=details)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with self._breaker.guard():
                yield
        except BreakerOpen as refused:
            raise StorageUnavailable(str(refused), retry_after_s=refused.retry_after_s) from refused
