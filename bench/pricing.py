"""What does pricing one call cost, and what does the installed calculator need for the same?

python -m bench.pricing
"""

import json
import timeit
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

from optimizer.core.pricing import Prices, Tokens

CALLS = {
    "one price": ("openai", "gpt-4o", {}),
    "tiers": ("anthropic", "claude-sonnet-4-5-20250929", {}),
    "batch": ("openai", "gpt-4o", {"processing": "batch"}),
    "unknown model": ("openai", "house-model", {}),
}
WHEN = datetime(2026, 6, 1, tzinfo=UTC)
NUMBER = 5_000
REPEATS = 7


def best(call: Callable[[], object], number: int = NUMBER) -> float:
    """Microseconds per call, the best of several runs."""
    return min(timeit.repeat(call, number=number, repeat=REPEATS)) / number * 1e6


def peer(provider: str, model: str, context: dict[str, str]) -> float | None:
    """The installed calculator on the same call; None where it raises, because it knows no price."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=1_000, output_tokens=500, cache_read_tokens=100)

    def call() -> object:
        return calc_price(usage, model, provider_id=provider, genai_request_timestamp=WHEN, price_context=context)

    try:
        call()
    except LookupError:
        return None
    return best(call, NUMBER // 10)


def main() -> None:
    """Measure every kind of call, ours and the peer's, and print both."""
    warnings.simplefilter("ignore")
    prices = Prices()
    tokens, at = Tokens(1_000, 500, 100), int(WHEN.timestamp()) * 1_000_000
    result: dict[str, dict[str, float | None]] = {}
    print(f"{'call':<16}{'ours, us':>10}{'genai-prices, us':>18}{'ratio':>8}")
    for name, (provider, model, context) in CALLS.items():
        priced = prices.price(provider=provider, model=model, tokens=tokens, at=at, context=context)
        assert (priced is None) == (name == "unknown model")

        def call(p: str = provider, m: str = model, c: dict[str, str] = context) -> object:
            return prices.price(provider=p, model=m, tokens=tokens, at=at, context=c)

        ours, theirs = best(call), peer(provider, model, context)
        result[name] = {"ours_us": round(ours, 2), "peer_us": None if theirs is None else round(theirs, 2)}
        shown = f"{theirs:>18.2f}{theirs / ours:>8.0f}" if theirs is not None else f"{'-':>18}{'-':>8}"
        print(f"{name:<16}{ours:>10.2f}{shown}")
    print("RESULT", json.dumps({"bench": "pricing", **result}))


if __name__ == "__main__":
    main()
