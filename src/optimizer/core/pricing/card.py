"""A model's price card: which rates hold when, and for which kind of processing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.core.pricing.rates import Rates

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When rates hold: from (inclusive) and until (exclusive) in microseconds since 1970, and a daily interval in
    seconds of the UTC day that may cross midnight. None is without bound."""

    start: int | None = None
    end: int | None = None
    daily: tuple[int, int] | None = None

    def holds(self, at: int) -> bool:
        """Whether the rates hold at that time."""
        if (self.start is not None and at < self.start) or (self.end is not None and at >= self.end):
            return False
        if self.daily is None:
            return True
        second = at // 1_000_000 % DAY_S
        opens, closes = self.daily
        return opens <= second < closes if opens <= closes else second >= opens or second < closes


ALWAYS = Validity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """Rates with their validity; `context` (such as `processing: batch`) restricts them to calls that say so.

    Rates with a context need not be whole: what they do not say is as without it.
    """

    rates: Rates
    validity: Validity = ALWAYS
    context: tuple[tuple[str, str], ...] = ()
    note: str = ""


class Card:
    """Everything known about one model's price from one source. Of the rows that hold, the last one counts.

    `open_ended`: the first row also holds before its start, because the source lists no older price.
    """

    def __init__(self, source: str, name: str, rows: Sequence[Dated], *, open_ended: bool = False) -> None:
        self.source = source
        self.name = name
        self.rows = tuple(rows)
        self._standard = tuple(row for row in reversed(self.rows) if not row.context)
        self._special = tuple(row for row in self.rows if row.context)
        self._merged: dict[tuple[int, ...], Dated] = {}
        self._oldest = self._standard[-1] if open_ended and self._standard else None

    def select(self, at: int, context: Mapping[str, str]) -> Dated | None:
        """The row for a call at that time (microseconds since 1970), merged with the rows of its context."""
        standard = self._oldest
        for row in self._standard:
            if row.validity is ALWAYS or row.validity.holds(at):
                standard = row
                break
        return self._with_context(standard, at, context) if context and self._special else standard

    def _with_context(self, standard: Dated | None, at: int, context: Mapping[str, str]) -> Dated | None:
        special = [
            row
            for row in self._special
            if row.validity.holds(at) and all(context.get(key) == value for key, value in row.context)
        ]
        if not special:
            return standard
        key = (id(standard), *(id(row) for row in special))  # the rows live as long as the card
        merged = self._merged.get(key)
        if merged is None:
            merged = self._merged[key] = _merge(special, standard)
        return merged


def _merge(special: Sequence[Dated], standard: Dated | None) -> Dated:
    # The first that says something about a rate decides it.
    rates = Rates()
    for row in special if standard is None else [*special, standard]:
        rates = rates.over(row.rates)
    named = ", ".join(f"{key}={value}" for row in special for key, value in row.context)
    note = ", ".join(filter(None, (special[0].note, named)))
    return Dated(rates=rates, validity=special[0].validity, context=special[0].context, note=note)
