"""LiteLLM's table: exact conversion, zero prices left out, a broken file taken not at all."""

import json
from decimal import Decimal

import pytest

from optimizer.core.pricing import Prices, Table, Tokens, read_litellm
from optimizer.model import InvalidArgument

TABLE = """{
 "sample_spec": {"mode": "one of chat"},
 "house/chat": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 2.5e-06,
   "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
   "input_cost_per_token_above_200k_tokens": 5e-06, "output_cost_per_token_above_200k_tokens": 2e-05,
   "input_cost_per_token_batches": 1.25e-06, "output_cost_per_token_batches": 5e-06,
   "input_cost_per_token_priority": 5e-06, "max_input_tokens": 1000},
 "embed": {"litellm_provider": "house", "mode": "embedding",
   "input_cost_per_token": 1e-08, "output_cost_per_token": 0.0},
 "free": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0},
 "image": {"litellm_provider": "house", "mode": "image_generation", "input_cost_per_pixel": 1e-08},
 "bare": {"litellm_provider": "house", "mode": "chat"},
 "odd": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": "cheap"},
 "minus": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": -1e-06},
 "wrong unit": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 2.5},
 "nobody": {"mode": "chat", "input_cost_per_token": 1e-06},
 "listed": []
}"""


def cost(tokens: Tokens, model: str = "chat", **context: str) -> Decimal | None:
    prices = Prices(Table(read_litellm(TABLE).entries), use_bundled=False)
    priced = prices.price(provider="house", model=model, tokens=tokens, at=0, context=context)
    return None if priced is None else priced.cost


def test_prices_are_converted_exactly() -> None:
    assert cost(Tokens(1_000, 500, 100)) == Decimal("0.007375")
    assert cost(Tokens(200_001, 1)) == (200_001 * Decimal(5) + 20).scaleb(-6)
    assert cost(Tokens(1_000, 0), model="embed") == Decimal("0.00001")


def test_contexts() -> None:
    assert cost(Tokens(1_000_000 // 10, 0), processing="batch") == Decimal("0.125")
    assert cost(Tokens(100_000, 100_000), service_tier="priority") == Decimal("1.5")


def test_what_cannot_be_used_is_reported() -> None:
    imported = read_litellm(TABLE)
    assert dict(imported.skipped) == {
        "free": "priced 0",
        "image": "mode image_generation",
        "bare": "no price per token",
        "odd": "price 'cheap' is no number",
        "minus": "price -0.000001 is out of bounds",
        "wrong unit": "price 2.5 is out of bounds",
        "nobody": "no provider",
        "listed": "not an object",
    }
    assert {entry.model for entry in imported.entries} == {"chat", "embed"}
    assert cost(Tokens(1, 1), model="free") is None


@pytest.mark.parametrize("text", ["", "{", TABLE + "}", "[]", "1", "{" * 100_000, '{"a": NaN}x'])
def test_a_broken_file_is_refused_whole(text: str) -> None:
    with pytest.raises(InvalidArgument):
        read_litellm(text)


def test_order_and_formatting_do_not_matter() -> None:
    shuffled = json.dumps(dict(reversed(json.loads(TABLE).items())), indent=2)
    assert set(read_litellm(shuffled).entries) == set(read_litellm(TABLE).entries)
