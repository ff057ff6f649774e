"""The part of ConfigService about the settings that the server itself runs with."""

from typing import Any

import structlog

from optimizer.config import apply_live, diff
from optimizer.grpc_api.convert import success
from optimizer.grpc_api.convert.replies import error_detail
from optimizer.grpc_api.convert.settings import requested, to_config, with_changes
from optimizer.grpc_api.handling import Call, caller, demand, unary
from optimizer.grpc_api.pb import config_pb2 as pb
from optimizer.grpc_api.rooms import Rooms
from optimizer.model import InvalidArgument
from optimizer.security import Permission

log = structlog.stdlib.get_logger(__name__)


class SettingsMethods:
    """Reading, checking and changing the settings. A change holds until the next reload or restart."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @unary
    async def GetOptimizerConfig(
        self, request: pb.GetOptimizerConfigRequest, call: Call[Any, Any]
    ) -> pb.GetOptimizerConfigResponse:
        """See the proto."""
        if request.include_sensitive:
            demand(call, Permission.ADMIN_READ)
        config = to_config(self._rooms.settings.get(), include_sensitive=request.include_sensitive)
        return pb.GetOptimizerConfigResponse(config=config, status=success())

    @unary
    async def ValidateConfig(
        self, request: pb.ValidateConfigRequest, call: Call[Any, Any]
    ) -> pb.ValidateConfigResponse:
        """See the proto."""
        wanted, warnings = requested(request.config)
        old = self._rooms.settings.get()
        new, errors = with_changes(old, wanted)
        warnings += [f"{change.key} changes after a restart only" for change in diff(old, new).restart]
        return pb.ValidateConfigResponse(
            valid=not errors,
            errors=[error_detail(error) for error in errors],
            warnings=warnings,
            status=success(),
        )

    @unary
    async def UpdateOptimizerConfig(
        self, request: pb.UpdateOptimizerConfigRequest, call: Call[Any, Any]
    ) -> pb.UpdateOptimizerConfigResponse:
        """See the proto."""
        wanted, warnings = requested(request.config)
        cell = self._rooms.settings
        old = cell.get()
        new, errors = with_changes(old, wanted)
        if errors:
            raise InvalidArgument("; ".join(f"{e.field}: {e}" for e in errors), field=errors[0].field)
        difference = diff(old, new)
        warnings += [
            f"{c.key} changes after a restart only: set it in the configuration file" for c in difference.restart
        ]
        live = apply_live(old, new)
        if request.validate_only:
            return pb.UpdateOptimizerConfigResponse(
                config=to_config(live, include_sensitive=False),
                warnings=warnings,
                status=success("nothing was changed"),
            )
        cell.set(live)
        if live.observability.log_level != old.observability.log_level:
            self._rooms.operations.set_log_level(live.observability.log_level, "")
        if difference.live:
            warnings.append("these changes hold until the next reload or restart")
            log.info("settings changed", by=caller(call), changes=[c.key for c in difference.live])
        return pb.UpdateOptimizerConfigResponse(
            config=to_config(live, include_sensitive=False), warnings=warnings, status=success()
        )
