"""One HTTP/2 connection from its first byte to its last: a task per call, and a watch over its time limits."""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from optimizer.grpc_api.transport.engine import INTERNAL_ERROR, Engine, Exchange
from optimizer.grpc_api.transport.frames import Breach
from optimizer.grpc_api.transport.guard import Guard
from optimizer.grpc_api.transport.limits import Limits

_CLOSE_S: Final = 2.0  # for the last frames to leave
_BREACH_S: Final = 1.0  # the same towards a peer that floods
_RAPID_S: Final = 1.0  # a reset so soon after the request counts for the reset budget
ServeCall = Callable[[Exchange, "Connection"], Awaitable[None]]
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Ending(enum.Enum):
    """Why a connection ended, as logs and metrics name it."""

    PEER = "peer"
    VIOLATION = "violation"
    FAULT = "fault"
    FLOOD = "flood"
    PREFACE = "preface"
    HEADERS = "headers"
    STALL = "stall"
    IDLE = "idle"
    AGE = "age"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is on the other side, as far as the transport knows.

    `identity` is a name from the client's verified certificate, None without mutual TLS.
    """

    address: str
    port: int = 0
    secure: bool = False
    identity: str | None = None


class Connection:
    """A connection as its calls, its listener and a drain see it."""

    def __init__(self, peer: Peer, limits: Limits, *, age_s: float, on_fault: Callable[[BaseException], None]) -> None:
        now = trio.current_time()
        self.peer = peer
        self.limits = limits
        self.partial = 0  # bytes of messages that have begun and are not yet whole
        self.calls: dict[int, Exchange] = {}  # open now
        self.total = 0  # opened so far
        self.ending: Ending | None = None
        self.detail = ""  # of the ending, for the log
        self._opened_at = now
        self._idle_since = now
        self._ages_at = now + age_s
        self._drained_at: float | None = None
        self._grace_s = 0.0
        self._changed = trio.Event()
        self._on_fault = on_fault
        self._sampled = self._rapid = 0

    async def serve(self, stream: trio.abc.Stream, serve_call: "ServeCall") -> None:
        """Serve until the connection has ended and is closed; `ending` then says why."""
        self._guard = guard = Guard(stream, self.limits)
        self._serve_call = serve_call
        try:
            async with trio.open_nursery() as pumps:
                async with trio.open_nursery() as self._calls:
                    self._engine = engine = Engine(guard, self.limits, nursery=pumps, open_exchange=self._open)
                    pumps.start_soon(self._watch, pumps.cancel_scope)
                    await engine.start()
                    await engine.finished.wait()
                    if engine.is_failed():
                        self._calls.cancel_scope.cancel()
                self._conclude()
                with trio.move_on_after(_BREACH_S if guard.breach else _CLOSE_S):
                    await engine.close()
                pumps.cancel_scope.cancel()
        except* _GONE:
            self.ending = self.ending or Ending.PEER
        finally:
            await trio.aclose_forcefully(stream)

    async def drain(self, ending: Ending, grace_s: float) -> None:
        """Begin the two-phase GOAWAY and return; calls that are open may finish within `grace_s`."""
        if self._drained_at is None:
            self.ending = ending
            self._drained_at = trio.current_time()
            self._grace_s = grace_s
            self._changed.set()
            await self._engine.graceful_shutdown()

    @property
    def read_at(self) -> float:
        """When bytes last came in, on Trio's clock: when the calls that they open have started."""
        return self._guard.read_at

    # Calls

    def _open(self, exchange: Exchange) -> None:
        self._calls.start_soon(self._call, exchange, name=exchange.path)

    async def _call(self, exchange: Exchange) -> None:
        self._engine.accepted(exchange.id)
        self.calls[exchange.id] = exchange
        self.total += 1
        self._guard.counter.active = True
        began = self._guard.read_at
        try:
            await self._serve_call(exchange, self)
        except Exception as error:  # noqa: BLE001  # the boundary: a fault outside a call's own containment ends that call
            self._on_fault(error)
        finally:
            del self.calls[exchange.id]
            exchange.interrupt = None
            if not exchange.over:
                exchange.reset(INTERNAL_ERROR)
            self._settle(exchange, began)

    def _settle(self, exchange: Exchange, began: float) -> None:
        self._sampled += 1
        if exchange.abandoned and not exchange.head_sent and trio.current_time() - began < _RAPID_S:
            self._rapid += 1
            if self._rapid > self.limits.reset_sample * self.limits.reset_share and not self._guard.breach:
                self._guard.breach = Breach("reset_share")
                self._engine.break_off("reset_share")
        if self._sampled >= self.limits.reset_sample:
            self._sampled = self._rapid = 0
        if not self.calls:
            self._guard.counter.active = False
            self._idle_since = trio.current_time()
            if self._engine.refusing:
                self._engine.finished.set()

    def _conclude(self) -> None:
        if self._guard.breach is not None:
            self.ending, self.detail = Ending.FLOOD, self._guard.breach.reason
        elif (failure := self._engine.failure()) is not None:
            self.ending = Ending.VIOLATION if self._engine.failed_by_peer() else Ending.FAULT
            self.detail = failure
        else:
            self.ending = self.ending or Ending.PEER

    # Time limits

    async def _watch(self, everything: trio.CancelScope) -> None:
        while True:
            now = trio.current_time()
            overdue = self._overdue(now)
            if overdue is not None:
                self.ending = overdue
                everything.cancel()
                return
            if self._drained_at is None:
                if now >= self._ages_at:
                    await self.drain(Ending.AGE, self.limits.age_grace_s)
                elif not self.calls and now >= self._idle_since + self.limits.idle_s:
                    await self.drain(Ending.IDLE, self.limits.age_grace_s)
            else:
                self._press(now, self._drained_at)
            with trio.move_on_at(self._next_check(now)):
                await self._changed.wait()
            self._changed = trio.Event()

    def _overdue(self, now: float) -> Ending | None:
        limits, guard = self.limits, self._guard
        if guard.writing_since is not None and now >= guard.writing_since + limits.write_stall_s:
            return Ending.STALL
        if not guard.counter.settled:
            return Ending.PREFACE if now >= self._opened_at + limits.preface_s else None
        unfinished = guard.counter.unfinished_since()
        if unfinished is not None and now >= unfinished + limits.header_block_s:
            return Ending.HEADERS
        if self._drained_at is not None and now >= self._drained_at + self._grace_s + _CLOSE_S:
            return self.ending
        return None

    def _press(self, now: float, drained_at: float) -> None:
        """The steps of a drain that its peer or its calls hold up."""
        if now >= drained_at + self.limits.ping_answer_s and not self._engine.shutdown_final:
            self._engine.refusing = True
            if not self.calls:
                self._engine.finished.set()
        if now >= drained_at + self._grace_s:
            self._engine.refusing = True
            for exchange in list(self.calls.values()):
                if exchange.interrupt is not None:
                    exchange.interrupt()

    def _next_check(self, now: float) -> float:
        """The earliest time at which one of the limits can be reached."""
        limits, guard = self.limits, self._guard
        times = [now + limits.header_block_s, now + limits.write_stall_s]
        if guard.writing_since is not None:
            times.append(guard.writing_since + limits.write_stall_s)
        if not guard.counter.settled:
            times.append(self._opened_at + limits.preface_s)
        elif (unfinished := guard.counter.unfinished_since()) is not None:
            times.append(unfinished + limits.header_block_s)
        if self._drained_at is None:
            times.append(self._ages_at)
            if not self.calls:
                times.append(self._idle_since + limits.idle_s)
        else:
            steps = (limits.ping_answer_s, self._grace_s, self._grace_s + _CLOSE_S)
            times.extend(self._drained_at + step for step in steps if self._drained_at + step > now)
        return min(times)
