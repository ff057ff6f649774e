"""Following declarations and policies: the state first, then every newest change (states between two may be missed)."""

from collections.abc import Callable
from typing import Any

import trio

from optimizer.grpc_api.calls.framing import Frame, encode_frame
from optimizer.grpc_api.convert import to_time
from optimizer.grpc_api.convert.routing import to_policy, to_service
from optimizer.grpc_api.handling import Call
from optimizer.grpc_api.pb import routing_pb2 as pb
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.subscriptions import call_accepted
from optimizer.model import Policy, Service
from optimizer.processor import Processor

RESTART_S = 0.5  # how often a processor that is restarting is looked for
AT_MOST_EVERY_S = 0.1  # under load the fold moves thousands of times a second; watchers need the newest state only


class ServiceWatch:
    """One watcher."""

    def __init__(self, rooms: Rooms, names: frozenset[str], *, changes_only: bool) -> None:
        self._rooms = rooms
        self._names = names
        self._silent = changes_only
        self._services: dict[str, Service] = {}
        self._policies: dict[str, Policy] = {}

    async def serve(self, call: Call[Any, Any]) -> None:
        """Send what differs from what was sent, until the client leaves. Raises Unavailable when the server stops."""
        await follow_progress(self._rooms, call, self._differences)

    def _differences(self, processor: Processor) -> list[Frame]:
        found: list[pb.ServiceEvent] = []
        at = to_time(self._rooms.now())
        for service in processor.registry.list():
            if self._names and service.name not in self._names:
                continue
            if self._services.get(service.name) != service:
                self._services[service.name] = service
                found.append(pb.ServiceEvent(service=service.name, timestamp=at, declared=to_service(service)))
            policy = processor.decider.policy(service.name)
            if policy is not None and self._policies.get(service.name) is not policy:
                self._policies[service.name] = policy
                found.append(pb.ServiceEvent(service=service.name, timestamp=at, policy=to_policy(policy)))
        silent, self._silent = self._silent, False
        return [] if silent else [encode_frame(event) for event in found]


async def follow_progress(rooms: Rooms, call: Call[Any, Any], differences: Callable[[Processor], list[Frame]]) -> None:
    """Send what `differences` finds, now and whenever the fold has moved. Raises Unavailable when the server stops."""
    with rooms.subscriptions.admit():
        await call_accepted(call)
        seen = -1
        while True:
            processor = rooms.processor.peek()
            if processor is None:
                await trio.sleep(RESTART_S)
                continue
            frames = differences(processor)
            if frames:
                await call.send_message(Frame(b"".join(frames)))
            with trio.move_on_after(RESTART_S):
                seen = await _moved(processor, seen)
            await trio.sleep(AT_MOST_EVERY_S)


async def _moved(processor: Processor, seen: int) -> int:
    _, seen = await processor.progress.wait_beyond(max(seen, processor.progress.version - 1))
    return seen
