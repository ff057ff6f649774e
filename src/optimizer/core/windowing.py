"""Windows in event time over each service's calls. A pure fold of the log: every moment it knows is in the log.

A call belongs to the window of its `occurred_at`. Time passes as records arrive (`received_at`), so that a replay gives
the same windows; in a log in which nothing arrives nothing ends, and what has not ended is told as open.
"""

import heapq
from bisect import insort
from collections.abc import Iterable, Iterator
from math import isfinite

import msgspec

from optimizer.core import records
from optimizer.core.watching import key_of
from optimizer.core.windows import Fired, Lateness, SlicedState, SlicedWindows, Watermarks, WindowResult, tumbling
from optimizer.core.windows.values import SECOND
from optimizer.model import FeedbackEvent

PREFIX = "windows/"
SERVICES = "windows/service/"
RESULTS = "windows/result/"
CLOCK = "windows/clock"

KEPT = 500
"""Results kept of each service, about 1 KB each: a day and three quarters of five minutes; the oldest go."""

CLOSED_AT_ONCE = 10
"""Silent services whose windows one record may close, so that no record takes long; the next ones close the others."""

FULL = 30
"""Services that change before they have to be written: a few hundred KB each at worst, 16 MiB in one transaction."""

_encode = msgspec.msgpack.Encoder().encode


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One service's windows as plain values. `kept` are the (start, end) of the results that are documents."""

    service: str
    size: int
    marks: Watermarks
    sliced: SlicedState
    kept: list[tuple[int, int]]


_saved = msgspec.msgpack.Decoder(Saved)
_clock = msgspec.msgpack.Decoder(int)
decode_result = msgspec.msgpack.Decoder(WindowResult).decode


class ServiceWindows:
    """One service's open windows, its watermark, and which results are kept."""

    __slots__ = ("kept", "marks", "sliced")

    def __init__(self, size: int) -> None:
        self.marks = Watermarks()
        # Telemetry comes in batches: a result is corrected for as long as a window lasts, a minute to ten.
        self.sliced = SlicedWindows(tumbling(size), Lateness(allowed=min(max(size, 60 * SECOND), 600 * SECOND)))
        self.kept: list[tuple[int, int]] = []

    def due(self) -> int | None:
        """When the next window ends if the service stays silent, on the log's clock; None without open windows."""
        end = self.sliced.next_end()
        if end is None:
            return None
        source = self.marks.sources[""]
        return source.heard + max(self.marks.idle, end + self.marks.delay - source.newest)


class CallWindows:
    """The windows of every declared service as of log offset `cursor`.

    `results` are the documents of results to write (None: to delete), `told` what ended or was corrected, in order.
    """

    def __init__(self, size_s: int) -> None:
        self.size = size_s * SECOND
        self.cursor = 0
        self.now = 0
        self.services: dict[str, ServiceWindows] = {}
        self.results: dict[str, WindowResult | None] = {}
        self.told: list[WindowResult] = []
        self._changed: set[str] = set()
        self._due: list[tuple[int, str]] = []  # a heap; what is not in `_waiting` any more is passed over
        self._waiting: dict[str, int] = {}  # never later than the service's `due()`

    @property
    def full(self) -> bool:
        """Whether what changed should be written before more does."""
        return len(self._changed) >= FULL

    def apply(self, offset: int, kind: str, payload: bytes) -> None:
        """Fold one record."""
        self.cursor = offset
        if kind == records.FEEDBACK:
            event = records.decode_feedback(payload)
            self._pass(event.received_at)
            self._call(event)
        elif kind == records.METRIC:
            self._pass(records.decode_metric(payload).received_at)
        elif kind == records.SCORE:
            self._pass(records.decode_score(payload).received_at)
        elif kind == records.SERVICE:
            declared = records.decode_declared(payload)
            self._pass(declared.at)
            self._declared(declared)

    def open_windows(self, service: str) -> list[WindowResult]:
        """What the service's windows that have not ended hold so far."""
        found = self.services.get(service)
        return [] if found is None else found.sliced.open_windows()

    def counts(self, service: str) -> tuple[int, int]:
        """Calls that came after their window had ended, and those of them that changed no result any more."""
        found = self.services.get(service)
        return (0, 0) if found is None else (found.sliced.late, found.sliced.dropped)

    def documents(self) -> Iterator[tuple[str, bytes | None]]:
        """Key and body of every document that changed; None as body: the document goes."""
        for key, result in self.results.items():
            yield key, None if result is None else _encode(result)
        for name in sorted(self._changed):
            found = self.services.get(name)
            body = None
            if found is not None:
                body = _encode(Saved(name, self.size, found.marks, found.sliced.state(), found.kept))
            yield SERVICES + key_of(name), body
        yield CLOCK, _encode(self.now)

    def settle(self) -> None:
        """What changed is written."""
        self.results.clear()
        self._changed.clear()

    def _call(self, event: FeedbackEvent) -> None:
        found = self.services.get(event.service)
        if found is None:
            return
        self._changed.add(event.service)
        fired = found.sliced.add(event.service, event.occurred_at, values_of(event))
        # A clock that is ahead must not make everybody else late: event time is never later than arrival.
        mark = found.marks.observe("", min(event.occurred_at, self.now), self.now)
        self._keep(event.service, found, fired + found.sliced.advance(mark))
        self._wait(event.service, found)

    def _pass(self, now: int) -> None:
        """Let the log's time pass: windows of services that are silent end."""
        self.now = max(self.now, now)
        closed = 0
        while self._due and self._due[0][0] <= self.now and closed < CLOSED_AT_ONCE:
            at, name = heapq.heappop(self._due)
            if self._waiting.get(name) != at:
                continue
            del self._waiting[name]
            found = self.services.get(name)
            if found is None:
                continue
            if found.due() == at:
                closed += 1
                self._changed.add(name)
                self._keep(name, found, found.sliced.advance(found.marks.at(self.now)))
            self._wait(name, found)

    def _wait(self, name: str, found: ServiceWindows) -> None:
        due, before = found.due(), self._waiting.get(name)
        if due is not None and (before is None or due < before):
            self._waiting[name] = due
            heapq.heappush(self._due, (due, name))

    def _keep(self, name: str, found: ServiceWindows, fired: Iterable[Fired]) -> None:
        for result in fired:
            if not isinstance(result, WindowResult):
                continue  # only the policy "side" hands events back
            extent = (result.start, result.end)
            self.told.append(result)
            self.results[result_key(name, *extent)] = result
            if extent not in found.kept:
                insort(found.kept, extent)
            while len(found.kept) > KEPT:
                self.results[result_key(name, *found.kept.pop(0))] = None

    def _declared(self, declared: records.Declared) -> None:
        name = declared.name
        if declared.service is not None:
            if name not in self.services:
                self.services[name] = ServiceWindows(self.size)
                self._changed.add(name)
        elif (gone := self.services.pop(name, None)) is not None:
            self._changed.add(name)
            self.results.update({result_key(name, *extent): None for extent in gone.kept})

    def take_up(self, saved: Saved) -> None:
        """Go on with a service. Windows of another size end as they are: their calls are told, as "flushed"."""
        made = self.services[saved.service] = ServiceWindows(saved.size)
        made.marks, made.kept = saved.marks, list(saved.kept)
        made.sliced.restore(saved.sliced)
        if saved.size != self.size:
            self._keep(saved.service, made, made.sliced.flush())
            self._changed.add(saved.service)
            mark, made.sliced = made.sliced.watermark, ServiceWindows(self.size).sliced
            made.sliced.advance(mark)
        self._wait(saved.service, made)


def restore_windows(size_s: int, cursor: int, documents: Iterable[tuple[str, bytes]]) -> CallWindows:
    """The windows whose documents these are, as of log offset `cursor`; results are not among them."""
    windows = CallWindows(size_s)
    windows.cursor = cursor
    for key, body in documents:
        if key == CLOCK:
            windows.now = _clock.decode(body)
        elif key.startswith(SERVICES):
            windows.take_up(_saved.decode(body))
    return windows


def results_of(service: str) -> str:
    """The prefix of the keys of a service's results; they sort by start."""
    return f"{RESULTS}{key_of(service)}/"


def result_key(service: str, start: int, end: int) -> str:
    """The document key of one window's result."""
    return f"{results_of(service)}{max(start, 0):020}-{max(end, 0):020}"


def values_of(event: FeedbackEvent) -> dict[str, float | None]:
    """What windows aggregate of a call: `error` is 1 or 0, the latency of a failed call is not one."""
    failed = event.error_type is not None
    values = {
        "error": 1.0 if failed else 0.0,
        "latency_ms": None if failed else event.latency_ms,
        "cost_usd": None if event.cost_usd is None else float(event.cost_usd),
        "quality": event.quality,
        "input_tokens": None if event.input_tokens is None else float(event.input_tokens),
        "output_tokens": None if event.output_tokens is None else float(event.output_tokens),
    }
    return {name: value if value is not None and isfinite(value) else None for name, value in values.items()}
