"""ConfigService: the entries that clients keep here, and the settings of the server."""

from typing import Any

from optimizer.grpc_api.convert import success, to_page
from optimizer.grpc_api.convert.entries import from_scope, to_change, to_entry, to_version
from optimizer.grpc_api.convert.replies import error_detail, page_of, partial
from optimizer.grpc_api.handling import Call, caller, demand, first, unary
from optimizer.grpc_api.pb import config_pb2 as pb
from optimizer.grpc_api.pb.config_grpc import ConfigServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.services.settings import SettingsMethods
from optimizer.grpc_api.streams.subscriptions import Feed
from optimizer.model import EntryChange, InvalidArgument, Scope
from optimizer.processor.entries import Draft, export_entries, read_entries
from optimizer.security import Permission

BATCH = 10_000
ERRORS = 1_000


class ConfigService(SettingsMethods, ConfigServiceBase):
    """Sensitive values are masked in every answer; exporting them needs the permission to read as administrator."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._entries = rooms.offices.entries
        self._changes = Feed(rooms.subscriptions, rooms.news.entries, to_change)

    @unary
    async def GetConfig(self, request: pb.GetConfigRequest, call: Call[Any, Any]) -> pb.GetConfigResponse:
        """See the proto."""
        entry = await self._entries.get(from_scope(request.scope, request.scope_id), request.key)
        return pb.GetConfigResponse(entry=to_entry(entry), status=success())

    @unary
    async def SetConfig(self, request: pb.SetConfigRequest, call: Call[Any, Any]) -> pb.SetConfigResponse:
        """See the proto."""
        draft = Draft(
            key=request.key,
            value=request.value,
            type=request.type or "string",
            description=request.description,
            sensitive=request.sensitive,
        )
        entry = await self._entries.set(from_scope(request.scope, request.scope_id), draft, by=caller(call))
        return pb.SetConfigResponse(entry=to_entry(entry), status=success())

    @unary
    async def DeleteConfig(self, request: pb.DeleteConfigRequest, call: Call[Any, Any]) -> pb.DeleteConfigResponse:
        """See the proto."""
        await self._entries.delete(from_scope(request.scope, request.scope_id), request.key, by=caller(call))
        return pb.DeleteConfigResponse(status=success())

    @unary
    async def ListConfig(self, request: pb.ListConfigRequest, call: Call[Any, Any]) -> pb.ListConfigResponse:
        """See the proto."""
        entries = await self._entries.select(from_scope(request.scope, request.scope_id), request.key_prefix)
        page = page_of(entries, request.pagination)
        return pb.ListConfigResponse(
            entries=[to_entry(entry) for entry in page.items], pagination=to_page(page), status=success()
        )

    @unary
    async def ExportConfig(self, request: pb.ExportConfigRequest, call: Call[Any, Any]) -> pb.ExportConfigResponse:
        """See the proto."""
        if request.include_sensitive:
            demand(call, Permission.ADMIN_READ)
        entries = await self._entries.select(from_scope(request.scope, request.scope_id))
        form = request.format.lower() or "json"
        data = export_entries(entries, form, include_sensitive=request.include_sensitive)
        return pb.ExportConfigResponse(config_data=data, format=form, status=success())

    @unary
    async def ImportConfig(self, request: pb.ImportConfigRequest, call: Call[Any, Any]) -> pb.ImportConfigResponse:
        """See the proto."""
        scope = from_scope(request.scope, request.scope_id)
        drafts = read_entries(request.config_data, request.format or "json")
        outcome = await self._entries.set_many(scope, drafts, by=caller(call), merge=request.merge, reason="import")
        errors = [error_detail(error) for error in outcome.errors]
        failed = len(errors)
        return pb.ImportConfigResponse(
            imported_count=outcome.created,
            updated_count=outcome.updated,
            failed_count=failed,
            errors=errors[:ERRORS],
            status=partial(f"{failed} entries were refused") if failed else success(),
        )

    @unary
    async def GetConfigVersion(
        self, request: pb.GetConfigVersionRequest, call: Call[Any, Any]
    ) -> pb.GetConfigVersionResponse:
        """See the proto."""
        version = await self._entries.version(from_scope(request.scope, request.scope_id), request.version_id)
        return pb.GetConfigVersionResponse(version=to_version(version), status=success())

    @unary
    async def ListConfigVersions(
        self, request: pb.ListConfigVersionsRequest, call: Call[Any, Any]
    ) -> pb.ListConfigVersionsResponse:
        """See the proto. The versions come without their entries."""
        versions = await self._entries.versions(from_scope(request.scope, request.scope_id))
        page = page_of(versions, request.pagination)
        shown = [to_version(version, entries=False) for version in page.items]
        return pb.ListConfigVersionsResponse(versions=shown, pagination=to_page(page), status=success())

    @unary
    async def RevertConfigVersion(
        self, request: pb.RevertConfigVersionRequest, call: Call[Any, Any]
    ) -> pb.RevertConfigVersionResponse:
        """See the proto."""
        scope = from_scope(request.scope, request.scope_id)
        version = await self._entries.revert(scope, request.version_id, by=caller(call), reason=request.reason)
        return pb.RevertConfigVersionResponse(version=to_version(version), status=success())

    async def WatchConfig(self, stream: Call[pb.WatchConfigRequest, pb.ConfigChangeEvent]) -> None:
        """See the proto. Without a scope the changes of every scope are sent."""
        request = await first(stream)
        keys = frozenset(request.keys)
        scope = from_scope(request.scope, request.scope_id) if request.scope else None

        def wanted(change: EntryChange) -> bool:
            return (not keys or change.key in keys) and (scope is None or change.scope == scope)

        await self._changes.serve(stream, wanted)

    async def BatchUpdateConfig(self, stream: Call[pb.BatchConfigUpdate, pb.BatchConfigResponse]) -> None:
        """See the proto. Each scope gets one new version when the client has ended its side."""
        by_scope: dict[Scope, list[Draft | InvalidArgument]] = {}
        refused: list[InvalidArgument] = []
        total = 0
        async for update in stream:
            total += 1
            if total > BATCH:
                raise InvalidArgument(f"one stream sets at most {BATCH} entries")
            try:
                scope = from_scope(update.scope, update.scope_id)
            except InvalidArgument as error:
                refused.append(error)
                continue
            draft = Draft(key=update.key, value=update.value, type=update.type or "string")
            by_scope.setdefault(scope, []).append(draft)
        for scope, drafts in by_scope.items():
            try:
                outcome = await self._entries.set_many(scope, drafts, by=caller(stream), reason="batch")
                refused.extend(outcome.errors)
            except InvalidArgument as error:  # the scope itself is wrong, or would become too large
                refused.extend([error] * len(drafts))
        failed = len(refused)
        reply = pb.BatchConfigResponse(
            successful=total - failed,
            failed=failed,
            errors=[error_detail(error) for error in refused[:ERRORS]],
            status=partial(f"{failed} of {total} were refused") if failed else success(),
        )
        await stream.send_message(reply)
