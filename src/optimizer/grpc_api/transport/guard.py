"""The bytes of one connection on their way in and out: counted, bounded, and never more than one write behind."""

from typing import Final

import trio

from optimizer.grpc_api.transport.engine import ENHANCE_YOUR_CALM, flood
from optimizer.grpc_api.transport.frames import Breach, FrameCounter
from optimizer.grpc_api.transport.limits import KIB, MIB, Limits
from optimizer.grpc_api.transport.runtime import Event

_WRITE: Final = 64 * KIB  # one write call, so that progress of a slow reader is seen
_GOAWAY_HEADER: Final = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00"
_GOAWAY_SIZE: Final = 17
_LINGER_S: Final = 0.5
_LINGER: Final = 4 * MIB


class Guard:
    """The pipe under the engine.

    Reading counts frames and stops while too many answers wait behind a blocked write. Writing keeps account of what is
    unsent, so that senders can wait, and puts the reason of a breach into the GOAWAY that tells the peer about it.
    """

    __slots__ = (
        "_limits",
        "_room",
        "_stream",
        "answers",
        "breach",
        "counter",
        "large",
        "read_at",
        "unsent",
        "writing_since",
    )

    def __init__(self, stream: trio.abc.Stream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self.unsent = 0
        self.answers = 0
        self._room = Event()
        self.counter = FrameCounter(limits)
        self.large = self.counter.large
        self.breach: Breach | None = None
        self.writing_since: float | None = None  # the last progress of the write that is under way
        self.read_at = trio.current_time()

    async def room(self) -> None:
        """Return when there is room for more DATA."""
        while self.unsent >= self._limits.connection_unsent:
            await self._room.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            H2ProtocolError: a flood budget was passed; the engine answers it with GOAWAY.
        """
        while self.writing_since is not None and self.counter.control > self._limits.control_unsent:
            await self._room.wait()
            self.counter.forgive(trio.current_time())
        data = bytes(await self._stream.receive_some(max_bytes))
        now = self.read_at = trio.current_time()
        breach = self.counter.feed(data, now)
        if breach is not None:
            self.breach = breach
            raise flood(breach.reason)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything that the engine has queued."""
        taken = self.unsent
        if self.answers:
            self.counter.answered(self.answers)
            self.answers = 0
        if self.breach is not None and bytes(data[-_GOAWAY_SIZE : -_GOAWAY_SIZE + 9]) == _GOAWAY_HEADER:
            data = _with_reason(bytes(data), self.breach.reason)
        self.writing_since = trio.current_time()
        try:
            if len(data) <= _WRITE:
                await self._stream.send_all(data)
            else:
                for start in range(0, len(data), _WRITE):
                    await self._stream.send_all(data[start : start + _WRITE])
                    self.writing_since = trio.current_time()
        finally:
            self.writing_since = None
            self.counter.control = 0
            self.unsent -= taken
            self._room.set()
            self._room.clear()

    async def aclose(self) -> None:
        """Close in order: tell the peer that nothing more comes, read what it still sends for a moment, close.

        Closing a socket with unread bytes resets it, and then the peer may never see the GOAWAY.
        """
        if isinstance(self._stream, trio.SocketStream) and self.breach is not None:
            with trio.move_on_after(_LINGER_S):
                await self._linger(self._stream)
        await self._stream.aclose()

    async def _linger(self, stream: trio.SocketStream) -> None:
        try:
            await stream.send_eof()
            left = _LINGER
            while left > 0 and (piece := await stream.receive_some(_WRITE)):
                left -= len(piece)
        except (trio.BrokenResourceError, trio.BusyResourceError):
            return  # the peer is gone, or the engine's reader still waits and will see the close


def _with_reason(data: bytes, reason: str) -> bytes:
    """The same bytes with debug data in the GOAWAY at their end (RFC 9113 section 6.8)."""
    last_stream = data[-8:-4]
    payload = last_stream + ENHANCE_YOUR_CALM.to_bytes(4, "big") + reason.encode()
    return data[:-_GOAWAY_SIZE] + len(payload).to_bytes(3, "big") + _GOAWAY_HEADER[3:] + payload
