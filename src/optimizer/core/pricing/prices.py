"""Prices: from a call's provider, model and token counts to dollars, with where the price came from.

Our own table goes first, then the data that is installed with us. What neither knows stays unknown.
"""

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from optimizer.core.pricing import bundled
from optimizer.core.pricing.card import Card
from optimizer.core.pricing.rates import Tokens, cost_of
from optimizer.core.pricing.table import Table
from optimizer.model import FeedbackEvent
from optimizer.model.services import Scalar

# Cards in memory: more pairs of provider and model than any deployment uses, a few megabytes.
CACHED_CARDS = 4096

# Attributes of an event that choose a row of a card, by the name that cards use for them.
CONTEXT_KEYS = {
    "service_tier": "service_tier",
    "openai.response.service_tier": "service_tier",
    "gen_ai.openai.response.service_tier": "service_tier",
    "processing": "processing",
    "speed": "speed",
    "route": "route",
}
_NO_CONTEXT: Mapping[str, str] = {}


class Priced(NamedTuple):
    """A cost in US dollars, and the row that it came from."""

    cost: Decimal
    source: str
    provenance: str


class Prices:
    """Looks prices up and remembers them. Same table and data, same answer: nothing here depends on time."""

    def __init__(self, table: Table | None = None, *, use_bundled: bool = True) -> None:
        self._table = table or Table()
        self._use_bundled = use_bundled
        self._cards: OrderedDict[tuple[str | None, str], tuple[Card, ...]] = OrderedDict()

    def price(
        self,
        *,
        provider: str | None,
        model: str | None,
        tokens: Tokens,
        at: int,
        response_model: str | None = None,
        context: Mapping[str, str] = _NO_CONTEXT,
    ) -> Priced | None:
        """What a call cost that happened `at` (microseconds since 1970); None when that is not known.

        The model that answered counts; the one asked for stands in when the answering one is not in any table.
        """
        for name in (response_model, model):
            if name is None:
                continue
            for card in self.cards(provider, name):
                row = card.select(at, context)
                if row is None:
                    continue
                cost = cost_of(tokens, row.rates)
                if cost is None:
                    return None
                return Priced(cost, card.source, f"{card.name} ({row.note})" if row.note else card.name)
        return None

    def price_event(self, event: FeedbackEvent) -> Priced | None:
        """What the call cost by the tables, whatever the event itself reports."""
        return self.price(
            provider=event.provider,
            model=event.model,
            response_model=event.response_model,
            tokens=Tokens(
                input=event.input_tokens,
                output=event.output_tokens,
                cache_read=event.cache_read_tokens,
                cache_write=event.cache_write_tokens,
                reasoning=event.reasoning_tokens,
            ),
            at=event.occurred_at,
            context=context_of(event.attributes) if event.attributes else _NO_CONTEXT,
        )

    def cards(self, provider: str | None, model: str) -> tuple[Card, ...]:
        """The cards for the model, the one that goes first in front; empty when it is unknown."""
        key = (provider, model)
        found = self._cards.get(key)
        if found is None:
            found = self._cards[key] = self._find(provider, model)
            if len(self._cards) > CACHED_CARDS:
                self._cards.popitem(last=False)
        return found

    def _find(self, provider: str | None, model: str) -> tuple[Card, ...]:
        found = [self._table.find(provider, model)]
        if self._use_bundled:
            found.append(bundled.find_card(provider, model))
        prefix, slash, rest = model.partition("/")
        if provider is None and slash and not any(found):
            # LiteLLM and gateways write the provider in front of the model.
            return self._find(prefix, rest)
        return tuple(card for card in found if card is not None)


def context_of(attributes: Mapping[str, Scalar]) -> dict[str, str]:
    """What an event's attributes say about how the call was processed."""
    context = {}
    for name, key in CONTEXT_KEYS.items():
        value = attributes.get(name)
        if isinstance(value, str) and value:
            context[key] = value
    if attributes.get("batch") is True:
        context["processing"] = "batch"
    return context
