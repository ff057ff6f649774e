"""Windows over calls: documents and news, exact across restarts."""

import msgspec
import trio
import trio.testing

from optimizer.bus import Overflow, Topic
from optimizer.core import records
from optimizer.core.windows import WindowResult
from optimizer.model import FeedbackEvent
from optimizer.processor.windows import open_windows
from optimizer.storage import Record, Store
from optimizer.storage.memory import MemoryState, open_memory
from tests.processor.conftest import SERVICE, running

MINUTE = 60_000_000
BASE = 1_700_000_100_000_000


def calls(minutes: int, start: int = 0) -> list[FeedbackEvent]:
    """Six calls a minute."""
    return [
        FeedbackEvent(
            event_id=f"e{start}-{i}",
            service="chat",
            occurred_at=BASE + start * MINUTE + i * 10_000_000,
            received_at=BASE + start * MINUTE + i * 10_000_000,
            variant="a",
            latency_ms=float(i),
        )
        for i in range(6 * minutes)
    ]


def log_of(minutes: int) -> list[Record]:
    declared = records.Declared("chat", 0, SERVICE)
    found = [Record(kind=records.SERVICE, key="chat", payload=records.encode(declared))]
    return found + [Record(kind=records.FEEDBACK, key="chat", payload=records.encode(e)) for e in calls(minutes)]


async def test_windows_survive_a_restart_of_the_processor(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(SERVICE)
        await r.feed(calls(22))
        first = await r.processor.windows.select("chat", None, None)
        assert [(w.reason, w.events) for w in first] == [*[("on_time", 30)] * 4, ("open", 12)]
    async with running(state) as r:
        assert await r.processor.windows.select("chat", None, None) == first
        await r.feed(calls(9, 22))
        found = await r.processor.windows.select("chat", None, None)
        assert [(w.reason, w.events) for w in found] == [*[("on_time", 30)] * 6, ("open", 6)]
        assert [w.start for w in found] == [BASE + 5 * MINUTE * i for i in range(7)]
        assert await r.processor.windows.select("chat", BASE + 7 * MINUTE, BASE + 15 * MINUTE) == found[1:3]
        assert await r.processor.windows.select("nobody", None, None) == []
        await r.processor.registry.withdraw("chat")
        assert await r.processor.windows.select("chat", None, None) == []


async def fold(store: Store, topic: Topic[WindowResult], *, crash: bool) -> list[WindowResult]:
    """Run the task over all of the log, then let it end, written or not; what is there then."""
    windows = await open_windows(store, 60, topic)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(windows.run)
        found = await windows.select("chat", None, None)
        nursery.cancel_scope.cancel()
    if not crash:
        await windows.write()
    return found


async def test_what_was_not_written_is_folded_again_alike(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = log_of(10)
    async with open_memory(MemoryState()) as store:
        await store.append(log)
        whole = await fold(store, Topic("windows"), crash=False)
    assert [w.events for w in whole] == [6] * 10
    async with open_memory(MemoryState()) as store:
        for start in range(0, len(log), 7):
            await store.append(log[start : start + 7])
            found = await fold(store, Topic("windows"), crash=start % 2 == 0)
        assert found == whole


async def test_what_ends_is_news_once_it_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    topic: Topic[WindowResult] = Topic("windows")
    async with open_memory(MemoryState()) as store, trio.open_nursery() as nursery:
        windows = await open_windows(store, 60, topic)
        with topic.subscribe(10, Overflow.DROP) as heard:
            nursery.start_soon(windows.run)
            await store.append(log_of(3))
            told = [await heard.receive(), await heard.receive()]
            kept = await store.scan("windows/result/")
            assert [msgspec.msgpack.decode(d.body, type=WindowResult) for d in kept] == told
            assert [w.events for w in told] == [6, 6]
        nursery.cancel_scope.cancel()
