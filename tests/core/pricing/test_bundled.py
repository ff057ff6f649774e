"""The installed data through our cards: the same dollars as its own calculator, for every model, date and tier."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, data_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices

from optimizer.core.pricing import Prices, Rates, Tokens, cost_of
from optimizer.core.pricing.bundled import _card

TOKEN_KEYS = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"}
MOMENTS = [
    datetime(year, month, 3, hour, tzinfo=UTC)
    for year, month, hour in [(2023, 1, 0), (2024, 10, 13), (2025, 6, 18), (2026, 11, 4)]
]
CALLS = [(1_000, 500, 100, 50), (150_000, 1, 0, 0), (250_000, 4_000, 200_000, 10_000), (1_500_000, 8_000, 0, 0)]


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def models() -> list[tuple[Provider, ModelInfo]]:
    return [(provider, model) for provider in data_snapshot.get_snapshot().providers for model in provider.models]


def priced_by_token_only(model: ModelInfo, moment: datetime) -> bool:
    prices = {key for key, value in vars(model.get_prices(moment)).items() if value is not None}
    return {"input_mtok", "output_mtok"} <= prices


def moments_and_calls(number: int, model: ModelInfo) -> list[tuple[datetime, tuple[int, int, int, int]]]:
    """All combinations for models with dates or tiers, one each for the others, by turns: the peer is slow."""
    dated = isinstance(model.prices, list)
    tiered = any(isinstance(price, TieredPrices) for price in vars(model.get_prices(MOMENTS[-1])).values())
    moments = MOMENTS if dated else [MOMENTS[number % len(MOMENTS)]]
    return [(moment, call) for moment in moments for call in (CALLS if tiered else [CALLS[number % len(CALLS)]])]


def test_every_model_costs_what_the_data_says() -> None:
    compared = 0
    for index, (provider, model) in enumerate(models()):
        card = _card(provider.id, model)
        for moment, (number, output, read, write) in moments_and_calls(index, model):
            if card is None or not priced_by_token_only(model, moment):
                continue
            row = card.select(micros(moment), {})
            assert row is not None
            usage = Usage(input_tokens=number, output_tokens=output, cache_read_tokens=read, cache_write_tokens=write)
            expected = model.calc_price(usage, provider, genai_request_timestamp=moment).total_price
            assert cost_of(Tokens(number, output, read, write), row.rates) == expected, (model.id, moment, number)
            compared += 1
    assert compared > 3_000


def test_every_variant_costs_what_the_data_says() -> None:
    compared = 0
    for provider, model in models():
        card = _card(provider.id, model)
        for variant in model.price_variants or ():
            for moment in MOMENTS[1:]:
                if card is None or not priced_by_token_only(model, moment):
                    continue
                row = card.select(micros(moment), variant.when)
                assert row is not None
                usage = Usage(input_tokens=1_000, output_tokens=500, cache_read_tokens=100)
                expected = model.calc_price(
                    usage, provider, genai_request_timestamp=moment, price_context=variant.when
                ).total_price
                assert cost_of(Tokens(1_000, 500, 100), row.rates) == expected, (provider.id, model.id, variant.when)
                compared += 1
    assert compared > 500


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-2024-08-06"),
        ("OpenAI", "GPT-4o"),
        ("azure.ai.openai", "gpt-4o"),
        ("az.ai.openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("aws.bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("bedrock_converse", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("gcp.gemini", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "gemini-2.5-pro"),
        ("gcp.gen_ai", "gemini-2.5-pro"),
        ("x_ai", "grok-4"),
        ("mistral_ai", "mistral-large-latest"),
        ("deepseek", "deepseek-chat"),
        ("groq", "llama-3.3-70b-versatile"),
        ("cohere", "command-r-plus"),
        ("perplexity", "sonar"),
        (None, "gpt-4o-mini"),
        (None, "openai/gpt-4o"),
        (None, "azure/gpt-4o"),
    ],
)
def test_the_spellings_of_telemetry_are_understood(provider: str | None, model: str) -> None:
    priced = Prices().price(provider=provider, model=model, tokens=Tokens(1_000, 500), at=micros(MOMENTS[-1]))
    assert priced is not None
    assert priced.cost > 0
    assert priced.source.startswith("genai-prices ")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("vllm", "gpt-4o"),
        ("my-gateway", "gpt-4o"),
        ("", "gpt-4o"),
        ("openai", ""),
        (None, "house-model"),
        ("openai", "whisper-1"),
    ],
)
def test_the_unknown_stays_unknown(provider: str | None, model: str) -> None:
    assert Prices().price(provider=provider, model=model, tokens=Tokens(1_000, 500), at=micros(MOMENTS[-1])) is None


def test_the_model_that_answered_counts() -> None:
    prices = Prices()
    common = {"provider": "openai", "tokens": Tokens(1_000_000, 0), "at": micros(MOMENTS[-1])}
    mini = prices.price(model="gpt-4o", response_model="gpt-4o-mini-2024-07-18", **common)  # type: ignore[arg-type]
    assert mini is not None
    assert mini.cost == Decimal("0.15")
    fallback = prices.price(model="gpt-4o", response_model="house-alias", **common)  # type: ignore[arg-type]
    assert fallback is not None
    assert fallback.provenance == "openai/gpt-4o"


def test_a_model_without_token_prices_has_no_card() -> None:
    hours = [
        model
        for _, model in models()
        if set(vars(model.get_prices(MOMENTS[-1]))) & {"audio_hours", "input_audio_hours"}
    ]
    assert hours
    for provider, model in models():
        if model in hours and not TOKEN_KEYS & set(vars(model.get_prices(MOMENTS[-1]))):
            card = _card(provider.id, model)
            assert card is None or cost_of(Tokens(10, 10), card.rows[0].rates) is None
    assert cost_of(Tokens(10, 10), Rates()) is None
