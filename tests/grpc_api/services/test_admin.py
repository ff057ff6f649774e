"""AdminService through an unmodified client."""

import grpc
import pytest

from optimizer.config import Settings
from tests.grpc_api.services.conftest import Stack


async def test_statistics_are_measured(stack: Stack) -> None:
    admin = stack.stub("admin")
    stats = (await admin.call("GetSystemStats")).stats
    assert 10 * 2**20 < stats.memory_used_bytes < stats.memory_total_bytes
    assert 0 < stats.disk_used_bytes < stats.disk_total_bytes
    assert stats.goroutines > 5
    assert stats.open_connections == 1
    info = (await admin.call("GetServiceInfo")).info
    assert (info.name, info.environment["environment"]) == ("llm-optimizer", "development")
    assert info.started_at.seconds
    database = await admin.call("GetDatabaseStats")
    assert database.stats.database_type == "memory"
    assert "entries=" in database.status.message


async def test_there_is_no_cache_and_it_says_so(stack: Stack) -> None:
    admin = stack.stub("admin")
    assert "no cache" in (await admin.call("GetCacheStats")).status.message
    assert await admin.fails("GetCacheStats", cache_name="l1") is grpc.StatusCode.NOT_FOUND
    assert await admin.fails("ClearCache", cache_name="l1") is grpc.StatusCode.NOT_FOUND
    assert (await admin.call("ClearCache", all_caches=True)).entries_cleared == 0


async def test_the_log_level_changes(stack: Stack) -> None:
    admin = stack.stub("admin")
    answer = await admin.call("SetLogLevel", level=admin.pb.LOG_LEVEL_DEBUG, module="optimizer.storage")
    assert (answer.previous_level, answer.new_level) == (admin.pb.LOG_LEVEL_INFO, admin.pb.LOG_LEVEL_DEBUG)
    assert stack.operated.levels == [("debug", "optimizer.storage")]
    assert await admin.fails("SetLogLevel") is grpc.StatusCode.INVALID_ARGUMENT


async def test_garbage_is_collected(stack: Stack) -> None:
    assert "unreachable" in (await stack.stub("admin").call("TriggerGC")).status.message


async def test_a_reload_says_what_changed(stack: Stack) -> None:
    stack.operated.file = Settings.model_validate({"observability": {"log_level": "debug"}, "rest_api": {"port": 1234}})
    answer = await stack.stub("admin").call("ReloadConfig")
    assert answer.reloaded
    assert "observability.log_level: info -> debug" in answer.changes
    assert "rest_api.port: 8080 -> 1234 (after a restart)" in answer.changes


async def test_flags(stack: Stack) -> None:
    admin = stack.stub("admin")
    assert (await admin.call("SetFeatureFlag", name="new", enabled=True)).flag.enabled
    await admin.call("SetFeatureFlag", name="new", enabled=False)
    assert [(flag.name, flag.enabled) for flag in (await admin.call("ListFeatureFlags")).flags] == [("new", False)]
    assert await admin.fails("SetFeatureFlag", name="") is grpc.StatusCode.INVALID_ARGUMENT


async def test_jobs(stack: Stack) -> None:
    admin = stack.stub("admin")
    with stack.rooms.offices.jobs.track("refold", cancellable=False) as progress:
        progress.report(done=0.25)
        (job,) = (await admin.call("ListBackgroundJobs", status_filter=["running"])).jobs
        assert (job.name, job.progress_pct) == ("refold", 25)
        assert await admin.fails("CancelBackgroundJob", job_id=job.id) is grpc.StatusCode.FAILED_PRECONDITION
    assert not (await admin.call("ListBackgroundJobs", status_filter=["running"])).jobs
    assert await admin.fails("CancelBackgroundJob", job_id="x") is grpc.StatusCode.NOT_FOUND


async def test_a_shutdown_is_begun(stack: Stack) -> None:
    admin = stack.stub("admin")
    answer = await admin.call("GracefulShutdown", timeout_seconds=5, reason="upgrade")
    assert answer.initiated
    assert answer.shutdown_at.seconds
    assert stack.operated.stops == [("asked for by admin-user: upgrade", 5)]
    assert await admin.fails("GracefulShutdown", timeout_seconds=-1) is grpc.StatusCode.INVALID_ARGUMENT


async def test_system_events_by_filter(stack: Stack) -> None:
    admin = stack.stub("admin")
    everything = admin.subscribed("SubscribeSystemEvents")
    some = admin.subscribed("SubscribeSystemEvents", event_types=["shutdown.requested"], severity_min="info")
    async with everything as one, some as two:
        await admin.call("SetFeatureFlag", name="new", enabled=True)
        await admin.call("GracefulShutdown")
        assert [(await one.next()).event_type for _ in range(2)] == ["feature_flag.changed", "shutdown.requested"]
        assert (await two.next()).event_type == "shutdown.requested"
    wrong = await admin.fails("SubscribeSystemEvents", severity_min="dire")
    assert wrong is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["GetMigrations", "RunMigrations", "RollbackMigrations"])
async def test_migrations_are_said_to_come(stack: Stack, method: str) -> None:
    error = await stack.stub("admin").failure(method)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "PostgreSQL" in error.details()
