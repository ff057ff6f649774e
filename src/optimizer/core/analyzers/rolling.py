"""The last minutes of each service, and what its minutes used to be like."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from optimizer.core.analyzers.values import MINUTE, SECOND
from optimizer.core.anomaly.moments import Moments
from optimizer.core.windows.aggregate import AggregateState, Summary, Tally
from optimizer.model import FeedbackEvent

SLICE = MINUTE
WINDOW = 5 * MINUTE

BASELINE = 60
"""Slices that the baseline remembers: an hour of busy minutes."""

KNOWN = 10
"""Slices before which there is no baseline."""

MAX_SERVICES = 1_000
"""Services looked at; the one silent longest gives way."""

EMA = 0.3

AHEAD = 5 * MINUTE
"""How far a sender's clock may be ahead of the one that stamps arrivals."""


class EventClock(msgspec.Struct, array_like=True):
    """A service's own time: that of its newest event, going on at the pace of the clock that stamps arrivals.

    So history that is loaded later is analysed in its own time, and a service that falls silent still grows old.
    """

    newest: int = 0
    heard: int = 0

    def observe(self, time: int, received: int) -> None:
        """Count an event."""
        if time >= self.newest:
            self.newest, self.heard = time, received

    def at(self, now: int) -> int:
        """The service's time when the arrival clock shows `now`."""
        return self.newest + max(0, now - self.heard)


def event_time(event: FeedbackEvent) -> int:
    """When the call happened; a sender whose clock is ahead counts as `AHEAD` ahead at most, or it would end time."""
    return min(event.occurred_at, event.received_at + AHEAD)


class RollingState(msgspec.Struct, array_like=True):
    """One service's minutes as plain values."""

    slices: dict[int, tuple[int, dict[str, AggregateState]]] = {}
    baseline: dict[str, Moments] = {}
    throughput: float | None = None
    closed: int = 0
    late: int = 0
    refused: int = 0
    first: int | None = None
    clock: EventClock = msgspec.field(default_factory=EventClock)


class Rolling:
    """Event-time slices of one service. Slices that leave the window become part of the baseline, empty ones too.

    `baseline` holds, over past slices, the moments of "requests" and, for each metric, of "<metric>.mean",
    "<metric>.p95" and "<metric>.total". `throughput` is the exponential average (0.3) of the slices' requests a second.
    """

    def __init__(self, state: RollingState | None = None) -> None:
        saved = RollingState() if state is None else state
        self.slices = {start: Tally.restore(tally) for start, tally in saved.slices.items()}
        self.baseline = saved.baseline
        self.throughput = saved.throughput
        self.closed = saved.closed
        self.late = saved.late
        self.refused = saved.refused
        self.first = saved.first
        self.clock = saved.clock

    def state(self) -> RollingState:
        """Everything, as plain values."""
        slices = {start: tally.state() for start, tally in self.slices.items()}
        counts = (self.closed, self.late, self.refused)
        return RollingState(slices, self.baseline, self.throughput, *counts, self.first, self.clock)

    def add(self, time: int, received: int, values: Mapping[str, float | None]) -> None:
        """Count an event; one older than the window is only counted in `late`, one with a NaN only in `refused`."""
        self.clock.observe(time, received)
        start = time - time % SLICE
        if start < self.closed:
            self.late += 1
            return
        self.first = start if self.first is None else min(self.first, start)
        tally = self.slices.get(start)
        if tally is None:
            tally = self.slices[start] = Tally()
            self.close(time - WINDOW)
        try:
            tally.add(values)
        except ValueError:
            self.refused += 1

    def close(self, before: int) -> None:
        """Move the slices that start before the time into the baseline."""
        first = before - before % SLICE
        if first <= self.closed:
            return
        # A long silence counts as silence, but no further back than the baseline remembers.
        silent = range(max(self.closed, first - BASELINE * SLICE), first, SLICE)
        over = {at for at in self.slices if at < first}
        for at in sorted(over.union(silent)):
            if self.first is not None and at >= self.first:
                self._learn(self.slices.pop(at, None))
        self.closed = first

    def window(self, at: int) -> Tally:
        """The events of the five minutes before the time, and of the rest of the slice in which those begin."""
        total = Tally()
        for start, tally in self.slices.items():
            if at - WINDOW - SLICE < start <= at:
                total.merge(tally)
        return total

    def usual(self, name: str) -> Moments | None:
        """The baseline of a number; None before `KNOWN` slices had it."""
        found = self.baseline.get(name)
        return found if found is not None and found.count >= KNOWN else None

    def _learn(self, tally: Tally | None) -> None:
        events = 0 if tally is None else tally.events
        rate = events * SECOND / SLICE
        self.throughput = rate if self.throughput is None else self.throughput + EMA * (rate - self.throughput)
        self._note("requests", float(events))
        for name, summary in ({} if tally is None else tally.summaries()).items():
            for part, value in _numbers(summary):
                self._note(f"{name}.{part}", value)

    def _note(self, name: str, value: float) -> None:
        moments = self.baseline.get(name)
        if moments is None:
            moments = self.baseline[name] = Moments()
        moments.add(value, BASELINE)


class View(NamedTuple):
    """One service as an analysis sees it: `tally` holds the events of the `span` microseconds before its time `at`."""

    service: str
    at: int
    span: int
    rolling: Rolling
    tally: Tally


class RollingBook:
    """The rolling windows of every service, bounded."""

    def __init__(self, state: dict[str, RollingState] | None = None) -> None:
        self._services = {name: Rolling(saved) for name, saved in (state or {}).items()}

    def state(self) -> dict[str, RollingState]:
        """Everything, as plain values."""
        return {name: rolling.state() for name, rolling in self._services.items()}

    def add(self, service: str, time: int, received: int, values: Mapping[str, float | None]) -> None:
        """Count an event of a service."""
        rolling = self._services.pop(service, None)
        if rolling is None:
            rolling = Rolling()
            if len(self._services) >= MAX_SERVICES:
                del self._services[next(iter(self._services))]
        self._services[service] = rolling  # last in the order: used most recently
        rolling.add(time, received, values)

    def views(self, now: int) -> Iterator[View]:
        """Each service's window that ends at its own time when arrivals are stamped `now`."""
        for name, rolling in sorted(self._services.items()):
            at = rolling.clock.at(now)
            rolling.close(at - WINDOW)
            since = at - WINDOW
            since -= since % SLICE
            seen = since if rolling.first is None else max(since, rolling.first)
            yield View(name, at, max(at - seen, SLICE), rolling, rolling.window(at))


def _numbers(summary: Summary) -> tuple[tuple[str, float], ...]:
    return ("mean", summary.mean), ("p95", summary.p95), ("total", summary.total)
