"""AdminService: the running process and what operators may do to it."""

import gc
import os
import shutil
from functools import partial as bind
from typing import Any

import psutil
import trio

from optimizer import __version__
from optimizer.grpc_api.convert import partial, success, to_time
from optimizer.grpc_api.handling import Call, caller, coming, first, unary
from optimizer.grpc_api.pb import admin_pb2 as pb
from optimizer.grpc_api.pb.admin_grpc import AdminServiceBase
from optimizer.grpc_api.pb.common_pb2 import DEPLOYMENT_MODE_STANDALONE
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.subscriptions import Feed
from optimizer.model import SEVERITIES, InvalidArgument, NotFound, SystemNotice
from optimizer.processor.administration import Flag, Job

LEVELS = {
    pb.LOG_LEVEL_TRACE: "trace",
    pb.LOG_LEVEL_DEBUG: "debug",
    pb.LOG_LEVEL_INFO: "info",
    pb.LOG_LEVEL_WARN: "warn",
    pb.LOG_LEVEL_ERROR: "error",
}
MIGRATIONS = "the stores of this version have no schema migrations; PostgreSQL brings them"
LONGEST_SHUTDOWN_S = 24 * 3600


class AdminService(AdminServiceBase):
    """What is not known is left at its zero value and named in the reply's message."""

    GetMigrations = coming(MIGRATIONS)
    RunMigrations = coming(MIGRATIONS)
    RollbackMigrations = coming(MIGRATIONS)

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._process = psutil.Process()
        self._process.cpu_percent(None)  # the first reading is always 0: it starts the interval
        self._events = Feed(rooms.subscriptions, rooms.news.system, to_system_event)

    @unary
    async def GetSystemStats(
        self, request: pb.GetSystemStatsRequest, call: Call[Any, Any]
    ) -> pb.GetSystemStatsResponse:
        """Processor time and memory in use are this process's, totals are the machine's."""
        folder = self._rooms.data_dir if self._rooms.data_dir.exists() else "."
        # A hanging network file system must not hang the server.
        disk = await trio.to_thread.run_sync(bind(shutil.disk_usage, folder), abandon_on_cancel=True)
        with self._process.oneshot():
            cpu, memory = self._process.cpu_percent(None), self._process.memory_info().rss
        stats = pb.SystemStats(
            cpu_usage_pct=cpu,
            memory_used_bytes=memory,
            memory_total_bytes=psutil.virtual_memory().total,
            disk_used_bytes=disk.used,
            disk_total_bytes=disk.total,
            goroutines=trio.lowlevel.current_statistics().tasks_living,
            open_connections=self._rooms.connections(),
            collected_at=to_time(self._rooms.now()),
        )
        return pb.GetSystemStatsResponse(stats=stats, status=success())

    @unary
    async def GetServiceInfo(
        self, request: pb.GetServiceInfoRequest, call: Call[Any, Any]
    ) -> pb.GetServiceInfoResponse:
        """See the proto."""
        service = self._rooms.settings.get().service
        info = pb.ServiceInfo(
            name=service.name,
            version=__version__,
            started_at=to_time(self._rooms.started_at),
            uptime_seconds=max(self._rooms.now() - self._rooms.started_at, 0) // 1_000_000,
            mode=DEPLOYMENT_MODE_STANDALONE,
            environment={"environment": service.environment, "pid": str(os.getpid())},
        )
        return pb.GetServiceInfoResponse(info=info, status=success("build_time and git_commit are not recorded"))

    @unary
    async def GetDatabaseStats(
        self, request: pb.GetDatabaseStatsRequest, call: Call[Any, Any]
    ) -> pb.GetDatabaseStatsResponse:
        """See the proto."""
        health = await self._rooms.store.health()
        details = {"writable": str(health.writable).lower(), **(health.details or {})}
        said = ", ".join(f"{name}={value}" for name, value in sorted(details.items()))
        connections = 1 if health.mode == "embedded" else 0
        stats = pb.DatabaseStats(
            database_type=health.mode, total_connections=connections, active_connections=connections
        )
        return pb.GetDatabaseStatsResponse(
            stats=stats, status=partial(f"{said}; queries are not counted by this store")
        )

    @unary
    async def GetCacheStats(self, request: pb.GetCacheStatsRequest, call: Call[Any, Any]) -> pb.GetCacheStatsResponse:
        """See the proto."""
        if request.cache_name:
            raise NotFound(f"no cache {request.cache_name[:64]!r}: none is configured")
        return pb.GetCacheStatsResponse(status=success("no cache is configured"))

    @unary
    async def ClearCache(self, request: pb.ClearCacheRequest, call: Call[Any, Any]) -> pb.ClearCacheResponse:
        """See the proto."""
        if not request.all_caches:
            raise NotFound(f"no cache {request.cache_name[:64]!r}: none is configured")
        return pb.ClearCacheResponse(status=success("no cache is configured, so nothing was cleared"))

    @unary
    async def SetLogLevel(self, request: pb.SetLogLevelRequest, call: Call[Any, Any]) -> pb.SetLogLevelResponse:
        """See the proto."""
        level = LEVELS.get(request.level)
        if level is None:
            raise InvalidArgument("say which level", field="level")
        before = self._rooms.operations.set_log_level(level, request.module)
        await self._tell("log_level.changed", f"log level of {request.module or 'everything'} is {level}", call)
        numbers = {name: number for number, name in LEVELS.items()}
        return pb.SetLogLevelResponse(
            previous_level=numbers.get(before, pb.LOG_LEVEL_UNSPECIFIED), new_level=request.level, status=success()
        )

    @unary
    async def TriggerGC(self, request: pb.TriggerGCRequest, call: Call[Any, Any]) -> pb.TriggerGCResponse:
        """See the proto."""
        before = self._process.memory_info().rss
        found = gc.collect()
        freed = max(before - self._process.memory_info().rss, 0)
        return pb.TriggerGCResponse(memory_freed_bytes=freed, status=success(f"{found} unreachable objects"))

    @unary
    async def ReloadConfig(self, request: pb.ReloadConfigRequest, call: Call[Any, Any]) -> pb.ReloadConfigResponse:
        """See the proto."""
        difference = self._rooms.operations.reload()
        changes = [f"{change.key}: {change.old} -> {change.new}" for change in difference.live]
        changes += [f"{c.key}: {c.old} -> {c.new} (after a restart)" for c in difference.restart]
        return pb.ReloadConfigResponse(reloaded=True, changes=changes, status=success())

    @unary
    async def ListFeatureFlags(
        self, request: pb.ListFeatureFlagsRequest, call: Call[Any, Any]
    ) -> pb.ListFeatureFlagsResponse:
        """See the proto."""
        flags = [to_flag(flag) for flag in await self._rooms.offices.flags.list()]
        return pb.ListFeatureFlagsResponse(flags=flags, status=success())

    @unary
    async def SetFeatureFlag(
        self, request: pb.SetFeatureFlagRequest, call: Call[Any, Any]
    ) -> pb.SetFeatureFlagResponse:
        """See the proto."""
        flag = await self._rooms.offices.flags.set(request.name, request.enabled, by=caller(call))
        return pb.SetFeatureFlagResponse(flag=to_flag(flag), status=success())

    @unary
    async def ListBackgroundJobs(
        self, request: pb.ListBackgroundJobsRequest, call: Call[Any, Any]
    ) -> pb.ListBackgroundJobsResponse:
        """See the proto."""
        jobs = self._rooms.offices.jobs.list(frozenset(request.status_filter))
        return pb.ListBackgroundJobsResponse(jobs=[to_job(job) for job in jobs], status=success())

    @unary
    async def CancelBackgroundJob(
        self, request: pb.CancelBackgroundJobRequest, call: Call[Any, Any]
    ) -> pb.CancelBackgroundJobResponse:
        """See the proto."""
        job = self._rooms.offices.jobs.cancel(request.job_id)
        await self._tell("job.cancelled", f"{job.name} was told to stop", call)
        return pb.CancelBackgroundJobResponse(job=to_job(job), status=success())

    @unary
    async def GracefulShutdown(
        self, request: pb.GracefulShutdownRequest, call: Call[Any, Any]
    ) -> pb.GracefulShutdownResponse:
        """See the proto."""
        if not 0 <= request.timeout_seconds <= LONGEST_SHUTDOWN_S:
            raise InvalidArgument(f"a shutdown takes 0 to {LONGEST_SHUTDOWN_S} s", field="timeout_seconds")
        within = request.timeout_seconds or None
        reason = f"asked for by {caller(call)}" + (f": {request.reason}" if request.reason else "")
        await self._tell("shutdown.requested", reason, call)
        self._rooms.operations.shut_down(reason, within)
        grace = self._rooms.settings.get().supervision.grace_tree_s
        latest = self._rooms.now() + int(min(within or grace, grace) * 1_000_000)
        return pb.GracefulShutdownResponse(initiated=True, shutdown_at=to_time(latest), status=success(reason))

    async def SubscribeSystemEvents(self, stream: Call[pb.SubscribeSystemEventsRequest, pb.SystemEvent]) -> None:
        """See the proto."""
        request = await first(stream)
        types, least = frozenset(request.event_types), least_severity(request.severity_min)
        await self._events.serve(
            stream,
            lambda notice: (not types or notice.event_type in types) and SEVERITIES.index(notice.severity) >= least,
        )

    async def _tell(self, event_type: str, message: str, call: Call[Any, Any]) -> None:
        notice = SystemNotice(
            event_type=event_type,
            severity="info",
            message=message,
            at=self._rooms.now(),
            metadata={"by": caller(call)},
        )
        await self._rooms.news.system.publish(notice)


def least_severity(word: str) -> int:
    """The rank of the least severity wanted; 0 when none is named. Raises InvalidArgument."""
    if not word:
        return 0
    for rank, severity in enumerate(SEVERITIES):
        if severity == word.lower():
            return rank
    raise InvalidArgument(f"severity is one of {', '.join(SEVERITIES)}", field="severity_min")


def to_system_event(notice: SystemNotice) -> pb.SystemEvent:
    """A notice on the wire."""
    return pb.SystemEvent(
        event_type=notice.event_type,
        severity=notice.severity,
        message=notice.message,
        timestamp=to_time(notice.at),
        metadata=notice.metadata,
    )


def to_flag(flag: Flag) -> pb.FeatureFlag:
    """A flag on the wire."""
    return pb.FeatureFlag(name=flag.name, enabled=flag.enabled, description=flag.description, metadata=flag.metadata)


def to_job(job: Job) -> pb.BackgroundJob:
    """A job on the wire; progress that cannot be told is 0."""
    return pb.BackgroundJob(
        id=job.id,
        name=job.name,
        status=job.status,
        started_at=to_time(job.started_at),
        completed_at=to_time(job.completed_at),
        progress_pct=job.progress_pct or 0,
        message=job.message,
        metadata=job.metadata,
    )
