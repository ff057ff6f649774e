"""Our own table: exact decimals, dates, prefixes and contexts; every bad row named."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from optimizer.core.pricing import Prices, Tokens, read_table
from optimizer.model import ConfigurationError, FeedbackEvent

TEXT = """
[[price]]
provider = "openai"
model = "gpt-4o"
from = 2026-01-01
input = 0.1
output = 0.3
cache_read = "0.05"
source = "contract 17"

[[price]]
provider = "openai"
model = "gpt-4o"
from = 2026-07-01
until = 2026-08-01
input = 0.2
output = 0.6

[[price]]
provider = "openai"
model = "gpt-4o"
from = 2026-01-01
context = { processing = "batch" }
input = 0.05
output = 0.15

[[price]]
model = "llama-*"
input = 0
output = 0
source = "our machines"

[[price]]
model = "llama-4-*"
input = 1
output = 2
tiers = [{ above = 1000, input = 3, output = 4 }]
request = 0.5
"""


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000


def cost(
    model: str, day: str, provider: str | None = "openai", tokens: Tokens | None = None, **context: str
) -> Decimal | None:
    prices = Prices(read_table(TEXT))
    priced = prices.price(
        provider=provider, model=model, tokens=tokens or Tokens(1_000_000, 1_000_000), at=at(day), context=context
    )
    return None if priced is None else priced.cost


def test_rows_hold_from_their_day_until_their_day() -> None:
    bundled = cost("gpt-4o", "2025-12-31")
    assert bundled == Decimal("12.5")  # before our contract: the public price
    assert cost("gpt-4o", "2026-01-01") == Decimal("0.4")
    assert cost("gpt-4o", "2026-06-30") == Decimal("0.4")
    assert cost("gpt-4o", "2026-07-01") == Decimal("0.8")
    assert cost("gpt-4o", "2026-08-01") == Decimal("0.4")


def test_a_context_overrides_what_it_says_only() -> None:
    assert cost("gpt-4o", "2026-02-01", processing="batch") == Decimal("0.20")
    cached = Tokens(1_000_000, 0, 1_000_000)
    assert cost("gpt-4o", "2026-02-01", tokens=cached, processing="batch") == Decimal("0.05")
    assert cost("gpt-4o", "2026-02-01", service_tier="default") == Decimal("0.4")


def test_free_is_a_price_and_the_longest_prefix_wins() -> None:
    assert cost("llama-3-8b", "2026-01-01", provider="vllm") == 0
    assert cost("LLAMA-3-8b", "2026-01-01", provider=None) == 0
    assert cost("llama-4-scout", "2026-01-01", provider="vllm", tokens=Tokens(1000, 0)) == Decimal("0.501")
    assert cost("llama-4-scout", "2026-01-01", provider="vllm", tokens=Tokens(1001, 0)) == Decimal("0.503003")


def test_another_provider_keeps_the_public_price() -> None:
    assert cost("gpt-4o", "2026-02-01", provider="azure.ai.openai") == Decimal("12.5")


def test_the_source_is_kept() -> None:
    priced = Prices(read_table(TEXT)).price(provider="openai", model="gpt-4o", tokens=Tokens(1, 1), at=at("2026-02-01"))
    assert priced is not None
    assert (priced.source, priced.provenance) == ("own table", "gpt-4o (contract 17)")


def test_an_event_is_priced_by_its_fields() -> None:
    event = FeedbackEvent(
        event_id="e", service="s", occurred_at=at("2026-02-01"), received_at=0, provider="openai", model="gpt-4o",
        input_tokens=1_000_000, output_tokens=1_000_000, attributes={"batch": True, "service_tier": "default", "x": 1},
    )  # fmt: skip
    priced = Prices(read_table(TEXT)).price_event(event)
    assert priced is not None
    assert priced.cost == Decimal("0.20")
    assert priced.provenance == "gpt-4o (processing=batch)" or "processing=batch" in priced.provenance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[price]]\nmodel = 'a'\n", r"price 1: expected at least one of input and output"),
        ("[[price]]\ninput = 1\n", r"price 1: model: expected a name"),
        ("[[price]]\nmodel = '*'\ninput = 1\n", r"model: expected a name"),
        ("[[price]]\nmodel = 'a*b'\ninput = 1\n", r"model: expected a name"),
        ("[[price]]\nmodel = 'a'\ninput = -1\n", r"input: expected 0 to 1000000 dollars per million tokens, not -1"),
        ("[[price]]\nmodel = 'a'\ninput = nan\n", r"input: expected 0 to 1000000"),
        ("[[price]]\nmodel = 'a'\ninput = inf\n", r"input: expected 0 to 1000000"),
        ("[[price]]\nmodel = 'a'\ninput = 1000001\n", r"input: expected 0 to 1000000"),
        ("[[price]]\nmodel = 'a'\ninput = true\n", r"input: expected dollars"),
        ("[[price]]\nmodel = 'a'\ninput = 'free'\n", r"input: expected dollars, not 'free'"),
        ("[[price]]\nmodel = 'a'\ninputs = 1\n", r"inputs: unknown; allowed: cache_read"),
        ("[[price]]\nmodel = 'a'\ninput = 1\nfrom = 'x'\n", r"from: expected a day"),
        ("[[price]]\nmodel = 'a'\ninput = 1\nfrom = 2026-01-02\nuntil = 2026-01-02\n", r"until: expected a later day"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ntiers = [1]\n", r"tiers: expected a list of tables"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ntiers = [{ input = 2 }]\n", r"tiers: above: expected a number"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ntiers = [{ above = 1, output = 2 }]\n", r"tiers: output: needs output"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ntiers = [{ above = 1, in = 2 }]\n", r"tiers: in: unknown"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ncontext = 'batch'\n", r"context: expected texts"),
        ("[[price]]\nmodel = 'a'\ninput = 1\ncontext = { a = 1 }\n", r"context: expected texts"),
        ("[[price]]\nmodel = 1\ninput = 1\n", r"model: expected a text"),
        ("price = 1\n", r"price: expected rows written as \[\[price\]\]"),
        ("price = [1]\n", r"price 1: expected a table"),
        ("[prices]\n", r"prices: unknown; allowed: \[\[price\]\]"),
        ("[[price]\n", r"not valid TOML"),
    ],
)
def test_a_bad_row_is_named(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        read_table(text, "own.toml")


def test_all_bad_rows_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_table("[[price]]\n[[price]]\nmodel = 'a'\ninput = 1\n[[price]]\nmodel = 'a'\n", "own.toml")
    assert re.findall(r"own\.toml: price (\d)", str(caught.value)) == ["1", "3"]


def test_an_empty_table_knows_nothing() -> None:
    assert read_table("").find("openai", "gpt-4o") is None
    assert Prices(use_bundled=False).cards("openai", "gpt-4o") == ()
