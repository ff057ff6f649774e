"""How far event time has come: a promise that (almost) nothing older is on its way."""

import msgspec

from optimizer.core.windows.values import SECOND

NEVER = -(2**62)
"""The watermark before anything was seen."""

MAX_SOURCES = 1_024
"""Partitions or senders told apart; the one silent longest is forgotten."""


class Source(msgspec.Struct, array_like=True):
    """The latest event time of one source and when it last spoke."""

    newest: int
    heard: int


class Watermarks(msgspec.Struct):
    """The watermark over several sources that are each in order up to `delay`.

    It is the lowest over the sources that speak, and never goes back. A source silent for `idle` no longer holds it up.
    When all are silent that long, event time is taken to pass as the clock does, so that the last windows close too.
    `now` is any steady microsecond clock of the caller's; a replay passes what it recorded.
    """

    delay: int = 5 * SECOND
    idle: int = 60 * SECOND
    sources: dict[str, Source] = {}
    current: int = NEVER

    def observe(self, source: str, time: int, now: int) -> int:
        """Count an event of a source; the watermark after it."""
        known = self.sources.pop(source, None)
        if known is None:
            known = Source(time, now)
            if len(self.sources) >= MAX_SOURCES:
                del self.sources[next(iter(self.sources))]
        else:
            known.newest = max(known.newest, time)
            known.heard = max(known.heard, now)
        self.sources[source] = known  # last in the order: heard most recently
        return self.at(now)

    def at(self, now: int) -> int:
        """The watermark at a moment in which nothing need have come."""
        if not self.sources:
            return self.current
        speaking = [source.newest for source in self.sources.values() if now - source.heard < self.idle]
        if speaking:
            reached = min(speaking) - self.delay
        else:
            silent = now - max(source.heard for source in self.sources.values())
            reached = max(source.newest for source in self.sources.values()) + silent - self.delay
        self.current = max(self.current, reached)
        return self.current
