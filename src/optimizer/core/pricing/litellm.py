"""Reads LiteLLM's `model_prices_and_context_window.json` into rows of our table.

Its prices are dollars per token without dates; ours are per million, exact, with a source. A price of zero on both
sides means there that nobody filled it in, so it is left out and reported, not taken for free.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from optimizer.core.pricing.rates import Rate, Rates
from optimizer.core.pricing.table import MAX_PRICE, BadRow, Entry
from optimizer.model import InvalidArgument

# The kinds of model that are paid by token.
MODES = frozenset({"chat", "completion", "responses", "embedding"})
TIER_STARTS = {"128k": 128_000, "200k": 200_000, "256k": 256_000, "272k": 272_000, "512k": 512_000}
_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
}
# Suffix of the price fields, and the context that it stands for.
_CONTEXTS = {
    "": (),
    "_batches": (("processing", "batch"),),
    "_flex": (("service_tier", "flex"),),
    "_priority": (("service_tier", "priority"),),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """The rows, and the models left out with the reason for each."""

    entries: tuple[Entry, ...]
    skipped: tuple[tuple[str, str], ...]


def read_litellm(text: str, *, source: str = "litellm") -> Imported:
    """The rows in LiteLLM's JSON text. Raises: `InvalidArgument` when it is not such a file; then nothing is taken."""
    try:
        content = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument("expected an object with one member for each model")
    entries: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    for name, fields in content.items():
        if name == "sample_spec":
            continue
        try:
            entries += _entries(name, fields, source)
        except BadRow as error:
            skipped.append((name, str(error)))
    return Imported(tuple(entries), tuple(skipped))


def _entries(name: str, fields: Any, source: str) -> Iterator[Entry]:
    if not isinstance(fields, Mapping):
        raise BadRow("not an object")
    mode = fields.get("mode")
    if mode not in MODES:
        raise BadRow(f"mode {mode}")
    provider = fields.get("litellm_provider")
    if not isinstance(provider, str) or not provider:
        raise BadRow("no provider")
    standard = _rates(fields, "")
    if standard.input is None and standard.output is None:
        raise BadRow("no price per token")
    if all(rate is None or rate.base == 0 for rate in (standard.input, standard.output)):
        raise BadRow("priced 0")
    model = name.removeprefix(f"{provider}/")
    for suffix, context in _CONTEXTS.items():
        rates = standard if not suffix else _rates(fields, suffix)
        if rates.input is not None or rates.output is not None:
            yield Entry(model=model, provider=provider.lower(), rates=rates, context=context, source=source)


def _rates(fields: Mapping[str, Any], suffix: str) -> Rates:
    rates = {kind: _rate(fields, field, suffix) for kind, field in _FIELDS.items()}
    return Rates(
        input=rates["input"],
        output=rates["output"],
        cache_read=rates["cache_read"],
        cache_write=rates["cache_write"],
        reasoning=rates["reasoning"],
    )


def _rate(fields: Mapping[str, Any], field: str, suffix: str) -> Rate | None:
    base = _money(fields.get(field + suffix))
    if base is None:
        return None
    tiers = []
    for label, start in TIER_STARTS.items():
        price = _money(fields.get(f"{field}_above_{label}_tokens{suffix}"))
        if price is not None:
            tiers.append((start, price))
    return Rate(base, tuple(tiers))


def _money(value: Any) -> Decimal | None:
    """Dollars per million from dollars per token; None when the field is absent."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise BadRow(f"price {value!r} is no number")
    money = Decimal(value).scaleb(6)
    if not money.is_finite() or not 0 <= money <= MAX_PRICE:
        raise BadRow(f"price {value} is out of bounds")
    return money.normalize() + 0
