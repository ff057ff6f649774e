"""The ledger: exact money, honest intervals, and silence where the holdout is too small."""

import random
from decimal import Decimal

import msgspec
import pytest

from optimizer.core.ledger import Account, Saving, month_of, saving, total


def fill(account: Account, rng: random.Random, n: int, *, before: float, after: float, share: float = 0.1) -> None:
    for _ in range(n):
        held_out = rng.random() < share
        cost = Decimal(f"{rng.expovariate(1.0) * (before if held_out else after):.6f}")
        account.record(held_out, cost, float(rng.random() < 0.9))


def account(segment: str = "") -> Account:
    return Account("s", "2026-11", segment)


def test_the_saving_and_its_interval() -> None:
    book = account()
    fill(book, random.Random(1), 20000, before=0.010, after=0.006)
    found = saving(book)
    assert found.saved_usd is not None
    assert found.low_usd is not None
    assert found.high_usd is not None
    truth = Decimal("0.004") * book.treated.calls
    assert found.low_usd < truth < found.high_usd
    assert found.shown is True
    assert found.quality_low is not None
    assert found.quality_high is not None
    assert found.quality_low < 0.0 < found.quality_high


def test_money_is_summed_exactly() -> None:
    book = account()
    for _ in range(1000):
        book.record(False, Decimal("0.1"), None)
    assert saving(book).spent_usd == Decimal("100.0")


@pytest.mark.parametrize("holdout", [0, 10])
def test_without_a_holdout_nothing_is_claimed(holdout: int) -> None:
    book = account()
    for i in range(1000):
        book.record(i < holdout, Decimal("0.1"), None)
    found = saving(book)
    assert found.saved_usd is None
    assert found.shown is None


def test_an_unknown_cost_is_unpriced_and_never_free() -> None:
    book = account()
    for i in range(400):
        book.record(i % 2 == 0, None if i % 4 == 1 else Decimal("0.5"), None)
    found = saving(book)
    assert found.unpriced_calls == 100
    assert found.saved_usd == Decimal("0E-9")


def test_a_wrong_saving_is_claimed_at_any_reading_with_at_most_alpha() -> None:
    rng = random.Random(5)
    wrong = 0
    for _ in range(60):
        book = account()
        claimed = False
        for _ in range(30):
            fill(book, rng, 60, before=0.01, after=0.01, share=0.2)
            claimed = claimed or saving(book).shown is not None
        wrong += claimed
    assert wrong / 60 <= 0.05


def test_segments_are_compared_within_themselves() -> None:
    """Costs differ between segments and so do the shares held out: a comparison of the whole would be confounded."""
    rng = random.Random(6)
    cheap, dear = account("cheap"), account("dear")
    fill(cheap, rng, 6000, before=0.001, after=0.001, share=0.5)
    fill(dear, rng, 6000, before=0.05, after=0.05, share=0.05)
    found = total((cheap, dear))
    assert isinstance(found, Saving)
    assert found.shown is None
    assert found.segment == ""
    assert found.calls == 12000


def test_accounts_serialise_to_the_same_bytes() -> None:
    book = account("a")
    fill(book, random.Random(2), 200, before=1.0, after=0.5)
    raw = msgspec.msgpack.encode(book)
    back = msgspec.msgpack.decode(raw, type=Account)
    assert msgspec.msgpack.encode(back) == raw
    assert saving(back) == saving(book)


def test_months_are_utc() -> None:
    assert month_of(1_767_225_600_000_000) == "2026-01"
    assert month_of(1_767_225_599_000_000) == "2025-12"
