"""RolloutService: begin, read, steer and follow rollouts; the same desk as over REST."""

from typing import Any

from optimizer.core.rollout import Rollout
from optimizer.grpc_api.calls.framing import Frame, encode_frame
from optimizer.grpc_api.convert import to_page, to_time
from optimizer.grpc_api.convert.replies import page_of
from optimizer.grpc_api.convert.rollouts import STATUSES, from_start, to_rollout, to_verdicts
from optimizer.grpc_api.handling import Call, Method, caller, first, unary
from optimizer.grpc_api.pb import rollouts_pb2 as pb
from optimizer.grpc_api.pb.rollouts_grpc import RolloutServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.declarations import follow_progress
from optimizer.model import InvalidArgument
from optimizer.processor import Processor
from optimizer.processor.rollouts import Action, RolloutDesk


def steering(action: Action) -> Method["RolloutService"]:
    """The method that tells a rollout to do this."""

    async def steer(service: "RolloutService", request: pb.RolloutAction, call: Call[Any, Any]) -> pb.Rollout:
        rollout = await service.desk.command(request.rollout_id, action, caller(call), request.reason)
        return service.told(rollout)

    return unary(steer)


class RolloutService(RolloutServiceBase):
    """A command is durable, and in force, when its answer is sent."""

    PauseRollout = steering("pause")
    ResumeRollout = steering("resume")
    CancelRollout = steering("cancel")
    ApproveRollout = steering("approve")
    RollbackRollout = steering("rollback")

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @property
    def desk(self) -> RolloutDesk:
        """Where rollouts are begun and steered; raises Unavailable while the processor restarts."""
        return self._rooms.processor.get().rollouts

    def told(self, rollout: Rollout) -> pb.Rollout:
        """The rollout on the wire."""
        return to_rollout(rollout, self._rooms.now())

    @unary
    async def StartRollout(self, request: pb.StartRolloutRequest, call: Call[Any, Any]) -> pb.Rollout:
        """See the proto."""
        spec = from_start(request, self.desk.baseline(request.service))
        return self.told(await self.desk.begin(spec, caller(call)))

    @unary
    async def GetRollout(self, request: pb.GetRolloutRequest, call: Call[Any, Any]) -> pb.Rollout:
        """See the proto."""
        return self.told(await self.desk.get(request.rollout_id))

    @unary
    async def ListRollouts(self, request: pb.ListRolloutsRequest, call: Call[Any, Any]) -> pb.ListRolloutsResponse:
        """See the proto."""
        wanted = frozenset(request.status_filter)
        if not wanted <= frozenset(STATUSES.values()):
            raise InvalidArgument("unknown status", field="status_filter")
        found = [r for r in self.desk.list(request.service or None) if not wanted or STATUSES[r.status] in wanted]
        page = page_of(found, request.pagination)
        return pb.ListRolloutsResponse(rollouts=[self.told(each) for each in page.items], pagination=to_page(page))

    @unary
    async def GetVerdicts(self, request: pb.GetVerdictsRequest, call: Call[Any, Any]) -> pb.GetVerdictsResponse:
        """See the proto."""
        rollout = await self.desk.get(request.rollout_id)
        return pb.GetVerdictsResponse(rollout_id=rollout.id, verdicts=to_verdicts(rollout))

    async def WatchRollouts(self, stream: Call[pb.WatchRolloutsRequest, pb.RolloutEvent]) -> None:
        """See the proto. A change is a new entry of the history; states between two looks may be missed."""
        request = await first(stream)
        services, ids = frozenset(request.services), frozenset(request.rollout_ids)
        told: dict[str, int] = {}

        def differences(processor: Processor) -> list[Frame]:
            now = self._rooms.now()
            frames: list[Frame] = []
            for rollout in reversed(processor.rollouts.list()):
                wanted = (not services or rollout.spec.service in services) and (not ids or rollout.id in ids)
                if wanted and told.get(rollout.id) != len(rollout.history):
                    told[rollout.id] = len(rollout.history)
                    event = pb.RolloutEvent(timestamp=to_time(now), rollout=to_rollout(rollout, now))
                    frames.append(encode_frame(event))
            return frames

        await follow_progress(self._rooms, stream, differences)
