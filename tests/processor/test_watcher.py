"""The watcher: drift and anomalies become alerts, once, and a restart goes on where it was."""

import random

import msgspec
import pytest
import trio
import trio.testing

from optimizer.core import records
from optimizer.core.watching import Watch, restore_watch
from optimizer.model import Alert, FeedbackEvent, MetricSample, Variant
from optimizer.storage import Record
from optimizer.storage.memory import MemoryState
from tests.processor.conftest import SERVICE, Running, running

PLAIN = msgspec.structs.replace(SERVICE, mode="fixed", segment_by=())


def calls(n: int, quality: float, start: int, seed: int = 1) -> list[FeedbackEvent]:
    rng = random.Random(seed)
    return [
        FeedbackEvent(
            event_id=f"e{start + i}",
            service="chat",
            occurred_at=(start + i) * 1_000_000,
            received_at=0,
            variant="a",
            quality=float(rng.random() < quality),
        )
        for i in range(n)
    ]


def samples(n: int, level: float, start: int) -> list[Record]:
    rng = random.Random(start)
    found = []
    for i in range(n):
        sample = MetricSample(
            name="queue", value=rng.gauss(level, 1.0), timestamp=(start + i) * 300_000_000, received_at=0
        )
        found.append(Record(kind=records.METRIC, key="queue", payload=records.encode(sample)))
    return found


async def alerts(r: Running) -> list[Alert]:
    await r.processor.watcher.fresh()
    return await r.processor.alerts.select(limit=100)


async def test_a_drop_in_quality_without_a_deploy_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.processor.registry.declare(PLAIN)
        await r.feed(calls(1000, 0.9, 0))
        assert await alerts(r) == []
        await r.feed(calls(400, 0.5, 1000, seed=2))
        (found,) = [a for a in await alerts(r) if a.metric == "quality"]
        assert (found.alert_type, found.severity, found.service) == ("drift", "error", "chat")
        assert 1000 <= found.at / 1e6 < 1200
        assert found.metadata["variant"] == "a"
        assert "went down" in found.title


async def test_an_unusual_series_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryState()) as r:
        await r.store.append(samples(2000, 10.0, 0))
        assert not {a.severity for a in await alerts(r)} & {"error", "critical"}
        await r.store.append(samples(30, 40.0, 2000))
        found = await alerts(r)
        assert {a.metric for a in found} == {"queue"}
        assert [a for a in found if a.severity == "critical" and a.at >= 2000 * 300_000_000]
        seen = r.processor.watcher.seen("queue")
        assert seen is not None
        assert (seen.samples, seen.last_timestamp) == (2030, 2029 * 300_000_000)
        assert r.processor.watcher.seen("nothing") is None


async def test_a_restart_raises_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    state = MemoryState()
    async with running(state) as r:
        await r.processor.registry.declare(PLAIN)
        await r.feed(calls(1000, 0.9, 0) + calls(400, 0.5, 1000, seed=2))
        before = await alerts(r)
        assert before
    async with running(state) as r:
        assert await alerts(r) == before
    state.cursors.pop("watch")  # as if it had crashed before its first snapshot: everything is watched again
    for key in [k for k in state.documents if k.startswith(b"watch/")]:
        del state.documents[key]
        state.keys.remove(key)
    async with running(state) as r:
        assert await alerts(r) == before


def records_of(n: int) -> list[Record]:
    found = [Record(kind=records.SERVICE, key="chat", payload=records.encode(records.Declared("chat", 0, PLAIN)))]
    found += [Record(kind=records.FEEDBACK, key="chat", payload=records.encode(e)) for e in calls(n, 0.8, 0)]
    return found + samples(n, 5.0, 0)


@pytest.mark.parametrize("cut", [0, 1, 150, 301, 450])
def test_restored_from_its_documents_it_goes_on_exactly(cut: int) -> None:
    log = records_of(300)

    def fold(watch: Watch, start: int, end: int) -> Watch:
        for offset, record in enumerate(log[start:end], start + 1):
            watch.apply(offset, record.kind, record.payload)
        return watch

    def image(watch: Watch) -> dict[str, bytes | None]:
        return dict(watch.documents())

    whole = fold(Watch(), 0, len(log))
    first = fold(Watch(), 0, cut)
    resumed = restore_watch(cut, [(k, v) for k, v in image(first).items() if v is not None])
    resumed.changes = set(first.changes)
    assert image(fold(resumed, cut, len(log))) == image(whole)


def test_a_variant_that_was_changed_on_purpose_starts_over() -> None:
    watch = Watch()
    for offset, record in enumerate(records_of(100), 1):
        watch.apply(offset, record.kind, record.payload)
    assert watch.drift.streams
    changed = msgspec.structs.replace(PLAIN, variants=(Variant(name="a", config={"model": "new"}), PLAIN.variants[1]))
    watch.apply(999, records.SERVICE, records.encode(records.Declared("chat", 0, changed)))
    assert not watch.drift.streams
    assert None in dict(watch.documents()).values()
