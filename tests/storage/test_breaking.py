"""The store behind a breaker: refused at once while the server is away, probed, and told in health and metrics."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest
import trio

from optimizer.model import Conflict, StorageUnavailable
from optimizer.nurseries import BreakerState
from optimizer.observability import Metrics, make_metrics
from optimizer.root import make_breaker
from optimizer.storage import ABSENT, BreakingStore, Document, Put, Record, Store, StoreHealth, guard_store, open_memory
from optimizer.storage.breaking import POLICY
from optimizer.storage.slotted import SlottedStore

RECORD = Record(kind="k", key="s", payload=b"x")


@dataclass
class Server:
    """What the store's server does at the moment, and how often it was asked."""

    away: bool = False
    hangs: bool = False
    asked: int = 0


class Remote(SlottedStore):
    """The memory store, as if it were a server of its own."""

    def __init__(self, store: Store, server: Server) -> None:
        self._inner = store
        self._server = server

    def _store(self) -> Store:
        self._server.asked += 1
        if self._server.away:
            raise StorageUnavailable("connection refused")
        return self._inner

    async def get(self, key: str) -> Document | None:
        if self._server.hangs:
            self._server.asked += 1
            await trio.sleep_forever()
        return await super().get(key)

    async def health(self) -> StoreHealth:
        return replace(await self._inner.health(), mode="postgres")


@asynccontextmanager
async def guarded() -> AsyncIterator[tuple[Store, Server, Metrics]]:
    metrics, server = make_metrics(), Server()
    async with open_memory() as inner:
        store = await guard_store(Remote(inner, server), partial(make_breaker, metrics))
        assert isinstance(store, BreakingStore)
        yield store, server, metrics


def shown(metrics: Metrics) -> float:
    return float(metrics.breaker_state.labels("postgres")._value.get())


async def fail_until_open(store: Store, server: Server) -> None:
    server.away = True
    for _ in range(POLICY.minimum_calls):
        with pytest.raises(StorageUnavailable, match="connection refused"):
            await store.append([RECORD])


async def test_a_local_store_has_no_breaker() -> None:
    async with open_memory() as store:
        assert await guard_store(store, partial(make_breaker, make_metrics())) is store


async def test_closed_it_changes_nothing() -> None:
    async with guarded() as (store, _, metrics):
        assert (await store.append([RECORD])).offsets == (1,)
        assert [entry.payload for entry in await store.read(0, 10)] == [b"x"]
        assert await store.end() == 1
        await store.wait_beyond(0)
        assert await store.commit([Put(key="a", body=b"1")]) == (1,)
        assert (await store.get("a")) == Document("a", 1, b"1")
        assert len(await store.scan("")) == 1
        assert await store.cursor("c") == 0
        health = await store.health()
        assert health.writable
        assert health.details is not None
        assert health.details["breaker"] == "closed"
        assert shown(metrics) == BreakerState.CLOSED.value


async def test_open_it_refuses_every_call_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with guarded() as (store, server, metrics):
        await fail_until_open(store, server)
        assert shown(metrics) == BreakerState.OPEN.value
        asked = server.asked
        await trio.sleep(0.5)
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(store.append, [RECORD]),
            partial(store.read, 0, 1),
            store.end,
            partial(store.wait_beyond, 0),
            partial(store.get, "a"),
            partial(store.scan, ""),
            partial(store.commit, [Put(key="a", body=b"1")]),
            partial(store.cursor, "c"),
        ]
        for call in calls:
            before = trio.current_time()
            with pytest.raises(StorageUnavailable) as refused:
                await call()
            assert trio.current_time() == before
            assert refused.value.retry_after_s in (1.5, 1.0)
        assert server.asked == asked
        health = await store.health()
        assert not health.writable
        assert health.details is not None
        assert health.details["breaker"] == "open"
        assert health.message == "the breaker of postgres is open"


async def test_it_closes_after_exactly_the_probes(autojump_clock: trio.testing.MockClock) -> None:
    async with guarded() as (store, server, metrics):
        await fail_until_open(store, server)
        await trio.sleep(POLICY.open_s)
        server.away, server.hangs = False, True
        asked, refused = server.asked, [0]

        async def ask() -> None:
            try:
                await store.get("a")
            except StorageUnavailable:
                refused[0] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert server.asked - asked == POLICY.probes
            assert refused[0] == 10 - POLICY.probes
            assert shown(metrics) == BreakerState.HALF_OPEN.value
            with pytest.raises(StorageUnavailable, match="being tried"):
                await store.wait_beyond(0)
            nursery.cancel_scope.cancel()
        server.hangs = False
        for number in range(POLICY.probes):  # the cancelled ones showed nothing: their places are free again
            assert shown(metrics) == BreakerState.HALF_OPEN.value, number
            await store.get("a")
        assert shown(metrics) == BreakerState.CLOSED.value


async def test_cancelled_calls_and_answers_are_not_failures(autojump_clock: trio.testing.MockClock) -> None:
    async with guarded() as (store, server, metrics):
        server.hangs = True
        for _ in range(20):
            with trio.move_on_after(1):
                await store.get("a")
        await store.commit([Put(key="a", body=b"1")])
        for _ in range(20):
            with pytest.raises(Conflict):
                await store.commit([Put(key="a", body=b"1", expected=ABSENT)])
        assert shown(metrics) == BreakerState.CLOSED.value
