"""The savings ledger: what a randomised holdout says was saved, with an error bar, per service, segment and month.

A holdout keeps a random share of the traffic on the baseline. What was saved is the number of other calls times the
difference of the mean costs; no list price or assumption enters. Money is summed as Decimal; moments are floats.

The interval is an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences", Annals of Statistics 2024, theorem 2.2): it may be read at
any time and as often as wanted; that the variance is estimated makes it approximate while the holdout is small, so
below `LEAST` calls on either side no saving is stated. A call whose cost is unknown counts as unpriced, never as
free.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

LEAST = 50  # priced calls on each side before a figure is stated
TUNED_FOR = 1000  # holdout calls at which the sequence is tightest
ZERO = Decimal(0)


class Side(msgspec.Struct, array_like=True):
    """One side's calls.
    `mean` and `squares` are the running mean and sum of squared deviations of the known costs.
    """

    calls: int = 0
    priced: int = 0
    cost: Decimal = ZERO
    mean: float = 0.0
    squares: float = 0.0
    rated: int = 0
    quality: float = 0.0
    quality_squares: float = 0.0

    def add(self, cost: Decimal | None, quality: float | None) -> None:
        """Include one call."""
        self.calls += 1
        if cost is not None:
            self.priced += 1
            self.cost += cost
            self.mean, self.squares = _welford(self.mean, self.squares, self.priced, float(cost))
        if quality is not None:
            self.rate(quality)

    def rate(self, quality: float) -> None:
        """Include the quality of a call, which may come later than the call."""
        self.rated += 1
        self.quality, self.quality_squares = _welford(self.quality, self.quality_squares, self.rated, float(quality))

    def joined(self, other: "Side") -> "Side":
        """Both sides' calls as one (Chan, Golub & LeVeque 1983)."""
        mean, squares = _join((self.priced, self.mean, self.squares), (other.priced, other.mean, other.squares))
        rate, spread = _join(
            (self.rated, self.quality, self.quality_squares), (other.rated, other.quality, other.quality_squares)
        )
        return Side(
            self.calls + other.calls,
            self.priced + other.priced,
            self.cost + other.cost,
            mean,
            squares,
            self.rated + other.rated,
            rate,
            spread,
        )


class Account(msgspec.Struct):
    """The holdout and the rest of one service's segment in one month ("2026-11"); serialise it with msgspec."""

    service: str
    month: str
    segment: str
    holdout: Side = msgspec.field(default_factory=Side)
    treated: Side = msgspec.field(default_factory=Side)

    def record(self, held_out: bool, cost: Decimal | None, quality: float | None) -> None:
        """Include one call, in place; `held_out` says that its assignment kept it on the baseline at random."""
        (self.holdout if held_out else self.treated).add(cost, quality)


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """Saved dollars with bounds (None while they cannot be stated) and the change of quality that came with them.

    `shown` is True when the interval lies above 0, False when it lies below, None when it does not tell.
    """

    service: str
    month: str
    segment: str
    saved_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    spent_usd: Decimal
    quality_change: float | None
    quality_low: float | None
    quality_high: float | None
    calls: int
    holdout_calls: int
    unpriced_calls: int
    alpha: float

    @property
    def shown(self) -> bool | None:
        """Whether a saving is shown."""
        if self.low_usd is None or self.high_usd is None:
            return None
        return True if self.low_usd > 0 else False if self.high_usd < 0 else None


def month_of(occurred_at: int) -> str:
    """The month (UTC) of a time in microseconds, as "2026-11"."""
    return datetime.fromtimestamp(occurred_at / 1e6, UTC).strftime("%Y-%m")


def saving(account: Account, alpha: float = 0.05) -> Saving:
    """What the account's holdout says was saved."""
    return total((account,), alpha)


def total(accounts: Iterable[Account], alpha: float = 0.05) -> Saving:
    """The saving over several accounts of one service (segments, months), each compared within itself.

    Accounts whose holdout is too small to compare are left out of the saving (not of the calls and the spending).
    """
    found = list(accounts)
    if not found:
        raise ValueError("at least one account is needed")
    usable = [a for a in found if min(a.holdout.priced, a.treated.priced) >= LEAST]
    amount = sum(a.treated.priced * (a.holdout.mean - a.treated.mean) for a in usable)
    variance = sum(
        a.treated.priced**2
        * (_variance(a.holdout.squares, a.holdout.priced) + _variance(a.treated.squares, a.treated.priced))
        for a in usable
    )
    half = _factor(sum(a.holdout.priced for a in usable), alpha) * math.sqrt(variance) if usable else None
    quality, spread = _quality(found, alpha)
    months, segments = {a.month for a in found}, {a.segment for a in found}
    return Saving(
        service=found[0].service,
        month=found[0].month if len(months) == 1 else "",
        segment=found[0].segment if len(segments) == 1 else "",
        saved_usd=None if half is None else _money(amount),
        low_usd=None if half is None else _money(amount - half),
        high_usd=None if half is None else _money(amount + half),
        spent_usd=sum((a.holdout.cost + a.treated.cost for a in found), ZERO),
        quality_change=quality,
        quality_low=None if quality is None else quality - spread,
        quality_high=None if quality is None else quality + spread,
        calls=sum(a.holdout.calls + a.treated.calls for a in found),
        holdout_calls=sum(a.holdout.calls for a in found),
        unpriced_calls=sum(side.calls - side.priced for a in found for side in (a.holdout, a.treated)),
        alpha=alpha,
    )


def pooled(accounts: Iterable[Account]) -> Account:
    """All accounts of one service as one, not told apart by segment: the holdout is drawn in all of them alike."""
    found = list(accounts)
    if not found:
        raise ValueError("at least one account is needed")
    whole = Account(found[0].service, found[0].month if len({a.month for a in found}) == 1 else "", "")
    for account in found:
        whole.holdout = whole.holdout.joined(account.holdout)
        whole.treated = whole.treated.joined(account.treated)
    return whole


def _join(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[float, float]:
    """Mean and sum of squared deviations of two samples (size, mean, sum of squared deviations) together."""
    n = a[0] + b[0]
    if not n:
        return 0.0, 0.0
    gap = b[1] - a[1]
    return a[1] + gap * b[0] / n, a[2] + b[2] + gap * gap * a[0] * b[0] / n


def _quality(accounts: list[Account], alpha: float) -> tuple[float | None, float]:
    """Mean change of quality over the treated calls, and half the width of its interval."""
    usable = [a for a in accounts if min(a.holdout.rated, a.treated.rated) >= LEAST]
    if not usable:
        return None, 0.0
    calls = sum(a.treated.rated for a in usable)
    weights = [a.treated.rated / calls for a in usable]
    change = sum(w * (a.treated.quality - a.holdout.quality) for w, a in zip(weights, usable, strict=True))
    variance = sum(
        w
        * w
        * (
            _variance(a.holdout.quality_squares, a.holdout.rated)
            + _variance(a.treated.quality_squares, a.treated.rated)
        )
        for w, a in zip(weights, usable, strict=True)
    )
    return change, _factor(sum(a.holdout.rated for a in usable), alpha) * math.sqrt(variance)


def _variance(squares: float, n: int) -> float:
    """Variance of a mean of n values."""
    return squares / (n - 1) / n


def _factor(n: int, alpha: float) -> float:
    """How many standard errors the sequence reaches to either side after n observations of the smaller side."""
    rho2 = (-2.0 * math.log(alpha) + math.log(1.0 - 2.0 * math.log(alpha))) / TUNED_FOR
    return math.sqrt((n * rho2 + 1.0) / (n * rho2) * 2.0 * math.log(math.sqrt(n * rho2 + 1.0) / alpha))


def _welford(mean: float, squares: float, n: int, value: float) -> tuple[float, float]:
    gap = value - mean
    mean += gap / n
    return mean, squares + gap * (value - mean)


def _money(value: float) -> Decimal:
    return Decimal(f"{value:.9f}")
