"""Streams that tell the state of each service once per interval, encoded once for all who share the interval."""

from collections.abc import Callable
from typing import Any

import trio
from google.protobuf.message import Message

from optimizer.core.history import CallHistory
from optimizer.core.history.periods import MINUTE
from optimizer.grpc_api.calls.framing import Frame, encode_frame
from optimizer.grpc_api.handling import Call
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.subscriptions import call_accepted
from optimizer.model import InvalidArgument

DEFAULT_S = 10
LONGEST_S = 24 * 3600
Make = Callable[[str, CallHistory, int, int], Message]


class Pulse:
    """One kind of event. It covers the interval before it, and at least the minutes that this touches."""

    def __init__(self, rooms: Rooms, make: Make) -> None:
        self._rooms = rooms
        self._make = make
        self._made: dict[tuple[str, int], tuple[int, Frame]] = {}

    async def serve(self, call: Call[Any, Any], services: frozenset[str], interval_s: int) -> None:
        """Send an event of each service (all that are declared when none is named) now and once per interval.

        Intervals begin at multiples of their length, the same for everybody. Raises InvalidArgument, Unavailable.
        """
        interval = interval_s or DEFAULT_S
        if not 1 <= interval <= LONGEST_S:
            raise InvalidArgument(f"an interval has 1 to {LONGEST_S} seconds", field="interval_secs")
        with self._rooms.subscriptions.admit():
            await call_accepted(call)
            while True:
                frames = [await self._frame(name, interval) for name in sorted(services or self._declared())]
                if frames:
                    await call.send_message(Frame(b"".join(frames)))
                now = self._rooms.now() / 1_000_000
                await trio.sleep(interval - now % interval)

    def _declared(self) -> set[str]:
        processor = self._rooms.processor.peek()
        return set() if processor is None else {service.name for service in processor.registry.list()}

    async def _frame(self, service: str, interval: int) -> Frame:
        now = self._rooms.now()
        tick = now // (interval * 1_000_000)
        known = self._made.get((service, interval))
        if known is not None and known[0] == tick:
            return known[1]
        history = await self._rooms.processor.get().chronicle.fresh()
        start = now - max(interval * 1_000_000, MINUTE)
        frame = encode_frame(self._make(service, history.calls, start, now))
        self._forget(tick, interval)
        self._made[service, interval] = (tick, frame)
        return frame

    def _forget(self, tick: int, interval: int) -> None:
        """Drop what is two ticks old, so that names that nobody asks for any more do not stay."""
        old = [key for key, (made, _) in self._made.items() if key[1] == interval and made < tick - 1]
        for key in old:
            del self._made[key]
