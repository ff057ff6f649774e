"""Price cards from the genai-prices data that is installed with us; its updater stays off.

The data is imported on the first look-up (it takes a moment), and each model is turned into a card once.
"""

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from optimizer.core.pricing.card import ALWAYS, Card, Dated, Validity
from optimizer.core.pricing.rates import Rate, Rates

if TYPE_CHECKING:
    from genai_prices import types

SOURCE = "genai-prices"

# Spellings of telemetry and of LiteLLM that the data does not know, lower case.
PROVIDERS = {
    "az.ai.openai": "azure",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "google_genai": "google",
    "fireworks_ai": "fireworks",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "x_ai": "x-ai",
    "xai": "x-ai",
}

# Which of its price keys we take over. Prices per image, hour or search have no token count to go with.
_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}


def find_card(provider: str | None, model: str) -> Card | None:
    """The card of a model, None when the provider or the model is not in the data.

    Without a provider it is found by the model's name, which is right for names that one provider alone has.
    """
    from genai_prices import data_snapshot

    named = PROVIDERS.get(provider.lower(), provider) if provider is not None else None
    try:
        found, info = data_snapshot.get_snapshot().find_provider_model(model, None, named, None)
    except LookupError:
        return None
    return _card(found.id, info)


def version() -> str:
    """The version of the data."""
    from importlib import metadata

    return metadata.version("genai-prices")


def _card(provider: str, info: "types.ModelInfo") -> Card | None:
    rows = []
    conditional = info.prices if isinstance(info.prices, list) else None
    if conditional is None:
        rows.append(Dated(rates=_rates(info.prices)))
    else:
        rows += [Dated(rates=_rates(each.prices), validity=_validity(each.constraint)) for each in conditional]
    for variant in info.price_variants or ():
        context = tuple(sorted(variant.when.items()))
        rows.append(Dated(rates=_rates(variant.prices), validity=_validity(variant.constraint), context=context))
    if all(row.rates.input is None and row.rates.output is None for row in rows):
        return None
    return Card(f"{SOURCE} {version()}", f"{provider}/{info.id}", rows, open_ended=True)


def _rates(prices: Any) -> Rates:
    values = vars(prices)
    per_thousand = values.get("requests_kcount")
    return Rates(
        **{name: _rate(values.get(key)) for name, key in _KEYS.items()},
        request=per_thousand.scaleb(-3) if isinstance(per_thousand, Decimal) else None,
    )


def _rate(value: Any) -> Rate | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return Rate(value)
    return Rate(value.base, tuple((tier.start, tier.price) for tier in value.tiers))


def _validity(constraint: Any) -> Validity:
    if constraint is None:
        return ALWAYS
    if hasattr(constraint, "start_date"):
        midnight = datetime.combine(constraint.start_date, time(), UTC)
        return Validity(start=int(midnight.timestamp()) * 1_000_000)
    return Validity(daily=(_second(constraint.start_time), _second(constraint.end_time)))


def _second(value: time) -> int:
    offset = value.utcoffset()
    second = value.hour * 3600 + value.minute * 60 + value.second
    return second if offset is None else (second - int(offset.total_seconds())) % 86_400
