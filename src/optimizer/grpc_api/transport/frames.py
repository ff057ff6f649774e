"""Counts HTTP/2 frames on the raw bytes, before the engine sees them, and says when a peer floods.

Pure: bytes and the time come in, a reason comes out. What an endless series of cheap frames costs the server
(CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316) is bounded here and nowhere else.
"""

from dataclasses import dataclass

from optimizer.grpc_api.transport.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = 9  # RFC 9113 section 4.1
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(10)
_ACK = 0x1
_END_STREAM = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8


@dataclass(frozen=True, slots=True)
class Breach:
    """A bound was passed: `reason` goes into the GOAWAY's debug data and into the metric's label."""

    reason: str


class _Rate:
    """Events within a window that starts with the first of them."""

    __slots__ = ("count", "limit", "since", "window")

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self.since = float("-inf")
        self.count = 0

    def add(self, now: float, count: int = 1) -> bool:
        """Count; true when the limit is passed."""
        if now - self.since > self.window:
            self.since = now
            self.count = 0
        self.count += count
        return self.count > self.limit


class FrameCounter:
    """The budgets of one connection: `feed` what comes in, `answered` what goes out."""

    __slots__ = (
        "_begun_at",
        "_block",
        "_block_size",
        "_data_sent",
        "_empty",
        "_header",
        "_last_ping",
        "_left",
        "_limits",
        "_pings",
        "_preface",
        "_priorities",
        "_resets",
        "_settings",
        "_strays",
        "_strikes",
        "_updates",
        "active",
        "control",
        "frames",
        "large",
        "opened",
        "settled",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._preface = len(PREFACE)  # bytes of it still to come
        self._header = b""  # of a frame whose header is split over two reads
        self._left = 0  # payload bytes of the current frame still to come
        self._block_size = 0  # bytes of the header block seen last
        self._block = 0  # frames of the header block that is open; 0: none
        self._begun_at = 0.0  # when the frame or block that is open began
        self._empty = 0
        self._updates = 0
        self._data_sent = 0
        self._priorities = 0
        self._strikes = 0
        self._last_ping = float("-inf")
        self._pings = _Rate(limits.pings, limits.flood_window_s)
        self._settings = _Rate(limits.settings, limits.flood_window_s)
        self._strays = _Rate(limits.other_frames, limits.flood_window_s)
        self._resets = _Rate(limits.resets_per_s, 1.0)
        self.opened = 0  # header blocks begun by the peer
        self.frames = 0
        self.control = 0  # bytes that the engine will write in answer to what came in
        self.active = 0  # open calls, told by the connection
        self.settled = False  # the preface and the first SETTINGS have arrived
        self.large: set[int] = set()  # streams whose header blocks, just fed, are larger than a header list may be

    def unfinished_since(self) -> float | None:
        """When the frame or header block that is still open began; None when nothing is open."""
        if self._left or self._header or self._block:
            return self._begun_at
        return None

    def forgive(self, now: float) -> None:
        """What is open counts from now: it was us who did not read."""
        self._begun_at = now

    def answered(self, frames: int) -> None:
        """HEADERS or DATA go out: keepalive strikes start anew (A8), and more WINDOW_UPDATEs are in order."""
        self._data_sent += frames
        self._strikes = 0
        self._last_ping = float("-inf")

    def feed(self, data: bytes, now: float) -> Breach | None:
        """Count the frames that begin in `data`."""
        end = len(data)
        if self.large and not (self._left or self._header or self._block):
            self.large.clear()
        if self._preface:  # whether it is the right one is the engine's to say
            start = min(self._preface, end)
            self._preface -= start
            if start == end:
                return None
        else:
            start = 0
        if self._left:
            if self._left >= end - start:
                self._left -= end - start
                return None
            start += self._left
            self._left = 0
        if self._header:
            data = self._header + data[start:]
            start, end = 0, len(data)
            self._header = b""
        while start + _HEADER <= end:
            length = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
            kind = data[start + 3]
            self.frames += 1
            breach = self._count(kind, data[start + 4], length, now)
            if kind in (_HEADERS, _CONTINUATION):
                self._block_size = length + (self._block_size if kind == _CONTINUATION else 0)
                if self._block_size > self._limits.header_list:
                    self.large.add(int.from_bytes(data[start + 5 : start + 9], "big") & 0x7FFFFFFF)
            if breach is not None:
                return Breach(breach)
            start += _HEADER + length
        if start > end:
            self._left = start - end
            self._begin(now)
        elif start < end:
            self._header = data[start:]
            self._begin(now)
        return None

    def _begin(self, now: float) -> None:
        if not self._block:
            self._begun_at = now

    def _count(self, kind: int, flags: int, length: int, now: float) -> str | None:
        if kind == _DATA:
            if length == 0 and not flags & _END_STREAM:
                self._empty += 1
                return "empty_data" if self._empty > self._limits.empty_data else None
            self._empty = 0
            return None
        if kind == _HEADERS:
            self.opened += 1
            self._empty = 0
            if not flags & _END_HEADERS:
                self._block = 1
                self._begun_at = now
            return None
        if kind == _WINDOW_UPDATE:
            self._updates += 1
            allowed = self._limits.window_updates_free + self._limits.window_updates_per_data * self._data_sent
            return "window_updates" if self._updates > allowed else None
        return self._count_control(kind, flags, now)

    def _count_control(self, kind: int, flags: int, now: float) -> str | None:
        if kind == _CONTINUATION:
            self._begin(now)
            self._block = 0 if flags & _END_HEADERS else self._block + 1
            return "continuations" if self._block > self._limits.continuations else None
        if kind == _RST_STREAM:
            return "resets" if self._resets.add(now) else None
        if kind == _PRIORITY:
            self._priorities += 1
            allowed = self._limits.priorities_per_stream * (self.opened + 1)
            return "priorities" if self._priorities > allowed else None
        if kind == _PING and not flags & _ACK:
            self.control += 17
            return self._ping(now)
        if kind == _SETTINGS and not flags & _ACK:
            self.settled = True
            self.control += 9
            return "settings" if self._settings.add(now) else None
        return "frames" if self._strays.add(now) else None

    def _ping(self, now: float) -> str | None:
        """gRPC A8: a PING earlier than the permitted interval is a strike, too many of them end the connection."""
        limits = self._limits
        interval = limits.ping_interval_s if self.active else limits.ping_interval_without_calls_s
        early = now - self._last_ping < interval
        self._last_ping = now
        if early:
            self._strikes += 1
        return "too_many_pings" if self._strikes > limits.ping_strikes or self._pings.add(now) else None
