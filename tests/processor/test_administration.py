"""Flags are durable and told; jobs are seen and stopped."""

import uuid
from typing import Any

import pytest
import trio

from optimizer.model import Alert, FailedPrecondition, InvalidArgument, NotFound
from optimizer.processor.administration.jobs import KEPT
from optimizer.processor.alerts import Alerts
from optimizer.processor.offices import make_id
from optimizer.storage import MemoryState
from tests.processor.rooms import drain, following, open_rooms


async def test_a_flag_is_kept_over_a_restart_and_told() -> None:
    state = MemoryState()
    async with open_rooms(state) as rooms:
        with following(rooms.news.system) as heard:
            await rooms.flags.set("new-router", True, by="ann")
            (notice,) = drain(heard)
        assert (notice.event_type, notice.metadata["flag"]) == ("feature_flag.changed", "new-router")
    async with open_rooms(state) as rooms:
        assert [(flag.name, flag.enabled, flag.updated_by) for flag in await rooms.flags.list()] == [
            ("new-router", True, "ann")
        ]
        assert await rooms.flags.enabled("new-router")
        assert not await rooms.flags.enabled("unheard-of")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 200])
async def test_a_bad_flag_name(name: str) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(InvalidArgument):
            await rooms.flags.set(name, True, by="ann")


async def test_a_job_is_seen_while_it_runs_and_after() -> None:
    async with open_rooms() as rooms:
        with rooms.jobs.track("refold", cancellable=False) as progress:
            progress.report(done=0.5, message="half")
            (job,) = rooms.jobs.list()
            assert (job.status, job.progress_pct, job.message) == ("running", 50, "half")
            with pytest.raises(FailedPrecondition):
                rooms.jobs.cancel(job.id)
        (job,) = rooms.jobs.list(frozenset({"completed"}))
        assert job.progress_pct == 100
        with pytest.raises(FailedPrecondition):
            rooms.jobs.cancel(job.id)
        with pytest.raises(NotFound):
            rooms.jobs.cancel("job-99")


async def test_a_cancellable_job_stops() -> None:
    async with open_rooms() as rooms:
        with rooms.jobs.track("export", cancellable=True):
            rooms.jobs.cancel(rooms.jobs.list()[0].id)
            await trio.Event().wait()
        assert rooms.jobs.list()[0].status == "cancelled"


async def test_a_failing_job_is_said_to_have_failed() -> None:
    async with open_rooms() as rooms:
        with pytest.raises(ZeroDivisionError), rooms.jobs.track("x", cancellable=True):
            raise ZeroDivisionError
        assert rooms.jobs.list()[0].status == "failed"


async def test_finished_jobs_are_bounded() -> None:
    async with open_rooms() as rooms:
        for _ in range(KEPT + 5):
            with rooms.jobs.track("x", cancellable=True):
                pass
        assert len(rooms.jobs.list()) == KEPT
        assert rooms.jobs.list()[0].id == f"job-{KEPT + 5}"


def test_ids_are_version_7_uuids_and_sort_by_time() -> None:
    ids = [make_id(1_700_000_000_000_000 + i * 250, b"\xff" * 8) for i in range(100)]
    assert all((parsed := uuid.UUID(each)).version == 7 and parsed.variant == uuid.RFC_4122 for each in ids)
    assert ids == sorted(ids)
    assert len({make_id(1, bytes([i]) * 8) for i in range(256)}) == 256


async def test_alerts_are_found_by_every_filter() -> None:
    async with open_rooms() as rooms:
        alerts = Alerts(rooms.store, rooms.news.alerts)
        with following(rooms.news.alerts) as heard:
            for i in range(10):
                await alerts.raise_alert(alert(i, service="a" if i % 2 else None, metric="m" if i < 5 else "n"))
            assert [each.at for each in drain(heard)] == list(range(10))

        async def times(**filters: Any) -> list[int]:
            return [each.at for each in await alerts.select(**filters)]

        assert await times() == list(range(9, -1, -1))
        assert await times(limit=2) == [9, 8]
        assert await times(since=8) == [9, 8]
        assert await times(service="a", metric="m") == [3, 1]
        assert await times(limit=0) == []


async def test_the_oldest_alerts_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.processor.alerts.KEPT", 50)
    async with open_rooms() as rooms:
        alerts = Alerts(rooms.store, rooms.news.alerts)
        for i in range(301):
            await alerts.raise_alert(alert(i))
        kept = await alerts.select(limit=1000)
        assert 50 <= len(kept) <= 150
        assert kept[0].at == 300


def alert(at: int, *, service: str | None = None, metric: str = "m") -> Alert:
    return Alert(
        alert_id=f"a{at}",
        alert_type="drift",
        severity="warning",
        service=service,
        metric=metric,
        at=at,
        value=1.0,
        title="t",
    )
