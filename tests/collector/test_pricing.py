"""Prices at the intake: a reported cost is never touched, an unknown one stays unknown."""

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from optimizer.collector.pricing import MAX_TABLE_BYTES, Pricer, load_table
from optimizer.core.pricing import Prices, read_table
from optimizer.model import ConfigurationError, FeedbackEvent

CALL = FeedbackEvent(
    event_id="e",
    service="s",
    occurred_at=1_793_000_000_000_000,
    received_at=1_793_000_000_000_000,
    provider="openai",
    model="gpt-4o",
    input_tokens=1_000,
    output_tokens=500,
)


def test_a_known_call_is_priced() -> None:
    pricer = Pricer(Prices())
    pricer.warm()
    priced = pricer(CALL)
    assert (priced.cost_usd, priced.cost_source) == (Decimal("0.0075"), "priced")
    assert replace(priced, cost_usd=None, cost_source=None) == CALL


@pytest.mark.parametrize(
    "call",
    [
        replace(CALL, model=None),
        replace(CALL, model="house"),
        replace(CALL, provider="house"),
        replace(CALL, output_tokens=None),
        replace(CALL, input_tokens=None, output_tokens=None),
    ],
)
def test_an_unknown_call_is_unchanged(call: FeedbackEvent) -> None:
    assert Pricer(Prices())(call) is call


def test_an_unknown_call_is_asked_again_with_another_table() -> None:
    house = read_table('[[price]]\nmodel = "house"\ninput = 0\noutput = 0\n')
    assert Pricer(Prices(house))(replace(CALL, model="house")).cost_usd == 0


def test_files(tmp_path: Path) -> None:
    assert load_table(None).entries == ()
    path = tmp_path / "own.toml"
    with pytest.raises(ConfigurationError, match=r"own\.toml: cannot be read: No such file"):
        load_table(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_table(path)
    with path.open("wb") as file:
        file.truncate(MAX_TABLE_BYTES + 1)
    with pytest.raises(ConfigurationError, match="larger than"):
        load_table(path)
    path.write_text('[[price]]\nmodel = "a"\n')
    with pytest.raises(ConfigurationError, match=r"own\.toml: price 1: expected at least one of"):
        load_table(path)
