"""A peer that speaks HTTP/2 frame by frame, well or badly, over any Trio stream."""

import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import hpack
import trio
import trio.testing
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from optimizer.grpc_api.transport.frames import PREFACE

if TYPE_CHECKING:
    from optimizer.grpc_api.transport.listener import Port
    from tests.grpc_api.conftest import Journal


def frame_message(payload: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message."""
    return struct.pack(">BI", flag, len(payload)) + payload


def text(value: str) -> bytes:
    """A StringValue, framed."""
    raw = value.encode()
    assert len(raw) < 128
    return frame_message(b"\x0a" + bytes([len(raw)]) + raw if raw else b"")


class RawPeer:
    """Sends frames as told and keeps those that come back."""

    def __init__(self, stream: trio.abc.Stream, port: "Port", journal: "Journal") -> None:
        self.stream = stream
        self.port = port
        self.journal = journal
        self.frames: list[Frame] = []
        self.closed = False
        self._buffer = b""
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.headers: dict[int, list[tuple[str, str]]] = {}
        self.data: dict[int, bytes] = {}
        self._next = 1

    async def greet(self) -> None:
        """Preface and SETTINGS."""
        await self.stream.send_all(PREFACE + SettingsFrame(0).serialize())

    async def send(self, *frames: Frame | bytes) -> None:
        """Send frames, or raw bytes."""
        await self.stream.send_all(b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames))

    def request(
        self, path: str, body: bytes | None = None, *, end: bool = True, fields: Iterable[tuple[str, str]] = ()
    ) -> tuple[int, bytes]:
        """The frames of a gRPC request on the next stream: HEADERS, then DATA when there is a body."""
        stream_id, self._next = self._next, self._next + 2
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *fields,
        ]
        return stream_id, self.head(stream_id, head, end=end and body is None) + (
            b"" if body is None else data(stream_id, body, end=end)
        )

    def head(self, stream_id: int, fields: Iterable[tuple[str, str]], *, end: bool = True) -> bytes:
        """A HEADERS frame."""
        frame = HeadersFrame(stream_id, self._encoder.encode(list(fields)))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame.serialize()

    async def call(self, path: str, body: bytes, *, fields: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
        """A whole call; its trailers (or its only headers)."""
        stream_id, raw = self.request(path, body, fields=fields)
        await self.send(raw)
        return await self.answer(stream_id)

    async def answer(self, stream_id: int) -> dict[str, str]:
        """Wait for the end of a response; its trailers (or its only headers)."""
        await self.wait(lambda: self.ended(stream_id) or self.reset(stream_id) is not None)
        return dict(self.headers.get(stream_id, []))

    def ended(self, stream_id: int) -> bool:
        return any(f.stream_id == stream_id and "END_STREAM" in f.flags for f in self.frames)

    def reset(self, stream_id: int) -> int | None:
        """The code of the RST_STREAM that came for a stream."""
        codes = [f.error_code for f in self.frames if isinstance(f, RstStreamFrame) and f.stream_id == stream_id]
        return codes[0] if codes else None

    def goaways(self) -> list[GoAwayFrame]:
        return [f for f in self.frames if isinstance(f, GoAwayFrame)]

    def of(self, kind: type[Frame]) -> list[Any]:
        return [f for f in self.frames if isinstance(f, kind)]

    async def wait(self, until: Callable[[], bool]) -> None:
        """Read frames until something holds or the server closes."""
        while not until() and not self.closed:
            await self.read()

    async def read(self) -> None:
        """Read what comes next."""
        try:
            piece = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            piece = b""
        if not piece:
            self.closed = True
            await trio.testing.wait_all_tasks_blocked()  # until the server has taken note, too
            return
        self._buffer += piece
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            await self._take(frame)

    async def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if isinstance(frame, HeadersFrame):
            fields = [(str(k), str(v)) for k, v in self._decoder.decode(frame.data)]
            self.headers.setdefault(frame.stream_id, []).extend(fields)
        elif isinstance(frame, DataFrame):
            self.data[frame.stream_id] = self.data.get(frame.stream_id, b"") + frame.data
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags and self.answers_pings:
            reply = PingFrame(0, frame.opaque_data)
            reply.flags.add("ACK")
            await self.send(reply)

    answers_pings = True


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    """A DATA frame."""
    frame = DataFrame(stream_id, payload)
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def ping(payload: bytes = b"12345678") -> bytes:
    return PingFrame(0, payload).serialize()


def window(stream_id: int, increment: int) -> bytes:
    return WindowUpdateFrame(stream_id, window_increment=increment).serialize()
