"""Kinds of windows, what a window says, and what happens to those who come late. Times are microseconds since 1970."""

from math import gcd
from typing import Literal

import msgspec

from optimizer.core.windows.aggregate import Summary

SECOND = 1_000_000

Reason = Literal["on_time", "late", "evicted", "flushed", "open"]
LatePolicy = Literal["update", "side", "drop"]

MAX_KEYS = 10_000
"""Keys with open windows; the one unused longest is fired early, as its own part, so that no count is lost."""


class Sliding(msgspec.Struct, frozen=True):
    """Windows of `size` that start at every multiple of `slide`; with `slide == size` they tumble."""

    size: int
    slide: int

    def __post_init__(self) -> None:
        if not 0 < self.slide <= self.size:
            raise ValueError(f"windows need 0 < slide <= size, not slide {self.slide} and size {self.size}")

    @property
    def slice(self) -> int:
        """The width of the longest slices of which every window is made."""
        return gcd(self.size, self.slide)

    def ends(self, time: int) -> range:
        """The ends of the windows that hold the time, in order."""
        last = time - time % self.slide + self.size
        count = (last - time - 1) // self.slide + 1
        return range(last - (count - 1) * self.slide, last + 1, self.slide)


def tumbling(size: int) -> Sliding:
    """Windows of `size`, one after the other."""
    return Sliding(size, size)


class Sessions(msgspec.Struct, frozen=True):
    """A window lasts as long as events of a key follow one another within `gap`."""

    gap: int

    def __post_init__(self) -> None:
        if self.gap <= 0:
            raise ValueError(f"sessions need a gap above 0, not {self.gap}")


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to an event whose window has fired.

    Up to `allowed` after the window's end in watermark time: "update" fires the corrected window again, "side" hands
    the event back, "drop" counts it. After that, "update" counts it as dropped too.
    """

    allowed: int = 60 * SECOND
    policy: LatePolicy = "update"


LATENESS = Lateness()


class WindowResult(msgspec.Struct, frozen=True, kw_only=True):
    """One firing of one key's window [start, end).

    Results with the same key, window and `part` replace one another: the highest `revision` counts. Parts of a window
    add up (there is more than one only when memory ran out in between). `replaces` names windows whose results are
    void because a late event joined their sessions to this one.
    """

    key: str
    start: int
    end: int
    part: int
    revision: int
    reason: Reason
    events: int
    metrics: dict[str, Summary]
    replaces: tuple[tuple[int, int], ...] = ()

    @property
    def rate(self) -> float:
        """Events in a second of the window."""
        return self.events * SECOND / (self.end - self.start)


class LateEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that came after its window had fired, for the side stream."""

    key: str
    time: int
    values: dict[str, float | None]


Fired = WindowResult | LateEvent
