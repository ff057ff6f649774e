"""The history of calls: tallies by period and by what was called."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from optimizer.core.history.periods import Period, coarser, overlaps, period_of
from optimizer.core.history.tally import Tally
from optimizer.model import FeedbackEvent

KINDS = 500
"""Kinds of call that are kept apart; further ones are counted under `OTHER` of their service."""
OTHER = "(other)"


class Kind(NamedTuple):
    """What was called; "" is not known."""

    service: str
    variant: str = ""
    provider: str = ""
    model: str = ""


class CallHistory:
    """Tallies of every kind of call in every kept period. `newest` is the time of the newest event so far."""

    def __init__(self) -> None:
        self.newest = 0
        self.too_old = 0
        self.periods: dict[Period, dict[Kind, Tally]] = {}
        self.dirty: set[Period] = set()
        self._kinds: set[Kind] = set()

    def add(self, event: FeedbackEvent, variant: str | None = None) -> None:
        """Count one finished call at its own time; `variant` is what its assignment said, if it names none itself."""
        kind = Kind(event.service, event.variant or variant or "", event.provider or "", event.model or "")
        tally = self._tally(event.occurred_at, kind)
        if tally is not None:
            tally.add(event)

    def score(self, moment: int, service: str, name: str, value: float) -> None:
        """Count one judgement that came apart from its call, at the time of the judgement."""
        tally = self._tally(moment, Kind(service))
        if tally is not None:
            tally.score(name, value)

    def select(
        self, start: int | None = None, end: int | None = None, where: Callable[[Kind], bool] | None = None
    ) -> Iterator[tuple[Period, Kind, Tally]]:
        """The tallies of the periods that overlap [start, end), oldest first; whole periods, never a part of one."""
        for period in sorted(self.periods):
            if overlaps(period, start, end):
                for kind, tally in self.periods[period].items():
                    if where is None or where(kind):
                        yield period, kind, tally

    def tidy(self) -> None:
        """Move what is no longer recent into longer periods, and drop what is too old."""
        for period in list(self.periods):
            place = coarser(period, self.newest)
            if place == period:
                continue
            kinds = self.periods.pop(period)
            self.dirty.add(period)
            if place is not None:
                self._merge(place, kinds)

    def restore(self, period: Period, kinds: dict[Kind, Tally]) -> None:
        """Put back a period as it was kept."""
        self.periods[period] = kinds
        self._kinds.update(kinds)

    def _merge(self, place: Period, kinds: dict[Kind, Tally]) -> None:
        self.dirty.add(place)
        there = self.periods.setdefault(place, {})
        for kind, tally in kinds.items():
            if kind in there:
                there[kind].merge(tally)
            else:
                there[kind] = tally

    def _tally(self, moment: int, kind: Kind) -> Tally | None:
        self.newest = max(self.newest, moment)
        period = period_of(moment, self.newest)
        if period is None:
            self.too_old += 1
            return None
        if kind not in self._kinds:
            if len(self._kinds) >= KINDS:
                kind = Kind(kind.service, OTHER, OTHER, OTHER)
            self._kinds.add(kind)
        self.dirty.add(period)
        kinds = self.periods.setdefault(period, {})
        tally = kinds.get(kind)
        if tally is None:
            tally = kinds[kind] = Tally()
        return tally
