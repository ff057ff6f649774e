"""Periods of event time: minutes for what is recent, then hours, then days. Each event is counted in exactly one."""

from typing import NamedTuple

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
LEVELS = ((MINUTE, 2 * HOUR), (HOUR, 7 * DAY), (DAY, 400 * DAY))
"""(length, how far back from the newest event), microseconds: at most 120 + 168 + 400 periods of each kind of call."""


class Period(NamedTuple):
    """From `start` (inclusive, microseconds since 1970 UTC), for `length` microseconds."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first moment after it."""
        return self.start + self.length


def period_of(moment: int, newest: int) -> Period | None:
    """The period in which an event of that time is counted now; None when it is too old to keep."""
    age = newest - moment
    for length, horizon in LEVELS:
        if age < horizon:
            return Period(moment - moment % length, length)
    return None


def coarser(period: Period, newest: int) -> Period | None:
    """Where everything of a period belongs by now: itself, a longer period, or None when it is too old to keep."""
    for length, horizon in LEVELS:
        # A period moves when its newest moment is too old for its level, so that none is split.
        if length >= period.length and newest - (period.end - 1) < horizon:
            return Period(period.start - period.start % length, length)
    return None


def overlaps(period: Period, start: int | None, end: int | None) -> bool:
    """Whether any moment of the period lies in [start, end); None is open."""
    return (end is None or period.start < end) and (start is None or period.end > start)
