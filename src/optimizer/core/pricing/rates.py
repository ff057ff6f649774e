"""What tokens cost: exact decimal rates with tiers, and the arithmetic over one call's token counts."""

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens. `tiers` are (above, price): the highest one that the input exceeds holds for all.

    That is the cliff that providers use: a prompt of 200,001 tokens pays the upper price for every token.
    """

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """The price per million for a call with so many input tokens."""
        price = self.base
        for above, tier in self.tiers:
            if input_tokens > above:
                price = tier
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rates of one model; None is unknown, not free. `request` is dollars per call."""

    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    reasoning: Rate | None = None
    request: Decimal | None = None

    def over(self, lower: "Rates") -> "Rates":
        """These rates, with those of `lower` where these say nothing."""
        missing = {each.name: getattr(lower, each.name) for each in fields(self) if getattr(self, each.name) is None}
        return replace(self, **missing)


class Tokens(NamedTuple):
    """One call's counts, the cached ones included in `input`, reasoning in `output`; None is unknown."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


_ZERO = Decimal(0)


def cost_of(tokens: Tokens, rates: Rates) -> Decimal | None:
    """Dollars for the call, exact; None when a count or a rate that matters is unknown.

    Cached tokens without a rate of their own cost as much as fresh ones. When the cached counts exceed the input, the
    input was reported without them (as Anthropic does), so it is all fresh.
    """
    given_input, given_output, read, write, reasoning = tokens
    input_rate, output_rate = rates.input, rates.output
    if not _is_known(given_input, input_rate) or not _is_known(given_output, output_rate):
        return None
    if (given_input is None and given_output is None) or (input_rate is None and output_rate is None):
        return None
    given_input, given_output, read, write = given_input or 0, given_output or 0, read or 0, write or 0
    if given_input < 0 or given_output < 0 or read < 0 or write < 0 or (reasoning or 0) < 0:
        return None
    cached = read + write
    total_input = given_input if cached <= given_input else given_input + cached
    dollars = _ZERO
    if input_rate is not None:
        price = input_rate.at(total_input)
        dollars = price * (total_input - cached)
        if read:
            dollars += (price if rates.cache_read is None else rates.cache_read.at(total_input)) * read
        if write:
            dollars += (price if rates.cache_write is None else rates.cache_write.at(total_input)) * write
    if output_rate is not None:
        apart = min(reasoning, given_output) if reasoning and rates.reasoning is not None else 0
        dollars += output_rate.at(total_input) * (given_output - apart)
        if apart and rates.reasoning is not None:
            dollars += rates.reasoning.at(total_input) * apart
    # Shifting the point is exact, dividing by a million need not be.
    dollars = dollars.scaleb(-6)
    return dollars if rates.request is None else dollars + rates.request


def _is_known(count: int | None, rate: Rate | None) -> bool:
    """Whether what these tokens cost can be said: a count needs a rate, and a rate a count."""
    return not count if rate is None else count is not None
