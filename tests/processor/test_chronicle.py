"""The chronicle: what is durable is in the next answer, over crashes and restarts, each call once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from optimizer.bus import Topic
from optimizer.core import records
from optimizer.core.history import total
from optimizer.model import FeedbackEvent, MetricSample
from optimizer.processor.chronicle import Chronicle, open_chronicle
from optimizer.storage import MemoryState, Record, Store, open_memory
from tests.processor.rooms import drain, following

T = 1_700_000_000_000_000


@asynccontextmanager
async def running(
    state: MemoryState, samples: Topic[MetricSample] | None = None
) -> AsyncIterator[tuple[Store, Chronicle]]:
    async with open_memory(state) as store, trio.open_nursery() as nursery:
        chronicle = await open_chronicle(store, samples or Topic("samples"))
        nursery.start_soon(chronicle.run)
        yield store, chronicle
        nursery.cancel_scope.cancel()


def calls(first: int, count: int) -> list[Record]:
    return [
        Record(
            kind=records.FEEDBACK,
            key="chat",
            payload=records.encode(FeedbackEvent(event_id=str(i), service="chat", occurred_at=T + i, received_at=T)),
        )
        for i in range(first, first + count)
    ]


def point(value: float) -> Record:
    sample = MetricSample(name="cpu", value=value, timestamp=T, received_at=T)
    return Record(kind=records.METRIC, key="cpu", payload=records.encode(sample))


async def test_what_is_durable_is_in_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as (store, chronicle):
        for round_ in range(5):
            await store.append(calls(round_ * 10, 10))
            assert total((await chronicle.fresh()).calls, None, None)[0].calls == (round_ + 1) * 10


async def test_each_call_is_counted_once_over_crashes(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    for round_ in range(6):
        async with running(state) as (store, chronicle):
            await store.append(calls(round_ * 10, 10))
            await chronicle.fresh()
            if round_ % 2:
                await chronicle.write_snapshot()
    async with running(state) as (_, chronicle):
        assert total((await chronicle.fresh()).calls, None, None)[0].calls == 60


async def test_a_snapshot_is_written_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as (store, _):
        await store.append(calls(0, 10))
        await trio.sleep(40)
        assert await store.cursor("history") == 10


async def test_samples_are_news_only_while_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as (store, _):
        await store.append([point(1)])
    samples: Topic[MetricSample] = Topic("samples")
    with following(samples) as heard:
        async with running(state, samples) as (store, chronicle):
            await store.append([point(2)])
            await chronicle.fresh()
            assert [sample.value for sample in drain(heard)] == [2]
            samples.close()
            await store.append([point(3)])
            history = await chronicle.fresh()
            assert [value for _, value in next(history.series.select("cpu")).points] == [1, 2, 3]
