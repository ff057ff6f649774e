"""What was spent by hour and day, what the day and the month will cost, and budgets held against both.

Spent sums are Decimals and exact; forecasts are estimates with an 80 % interval, None where history is too short.
Days and months are UTC.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from statistics import fmean, stdev

import msgspec

from optimizer.core.analyzers.values import DAY, HOUR, SECOND

KEPT_HOURS = 28 * 24
KEPT_DAYS = 62
"""Enough for this month and the last."""

EIGHTY = 1.2816
"""Standard deviations that hold 80 % of a normal distribution around its mean."""

FEWEST = 3
"""Whole days (hours, for the first day) of history that a forecast with an interval needs."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in US dollars; None means none."""

    daily_usd: Decimal | None = None
    monthly_usd: Decimal | None = None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a period will have cost at its end. `low` and `high` hold 80 %; None when history is too short to say."""

    spent: Decimal
    expected: Decimal
    low: Decimal | None
    high: Decimal | None


class Spending(msgspec.Struct, array_like=True):
    """One payer's (a service's, or everybody's) costs by hour and by day; the whole state."""

    hours: dict[int, Decimal] = {}
    days: dict[int, Decimal] = {}
    first: int | None = None

    def add(self, cost: Decimal, time: int) -> None:
        """Count a cost at its time."""
        hour, day = time // HOUR, time // DAY
        self.hours[hour] = self.hours.get(hour, Decimal(0)) + cost
        self.days[day] = self.days.get(day, Decimal(0)) + cost
        self.first = hour if self.first is None else min(self.first, hour)
        if len(self.hours) > KEPT_HOURS:
            del self.hours[min(self.hours)]
        if len(self.days) > KEPT_DAYS:
            del self.days[min(self.days)]

    def day(self, now: int) -> Forecast:
        """The UTC day of `now`."""
        today, spent = now // DAY, self.days.get(now // DAY, Decimal(0))
        so_far, rest = [], []
        for day in range(today - 14, today):
            if self.first is not None and day * 24 >= self.first:
                before, after = self._split(day, now % DAY)
                so_far.append(before)
                rest.append(after)
        if len(rest) >= FEWEST:
            # Past days at this hour, at today's pace. The pace is believed as far as the past mornings varied little.
            usual = fmean(so_far)
            pace = float(spent) / usual if usual > 0.0 else 1.0
            noise = stdev(so_far) / usual if usual > 0.0 else 1.0
            trust = 1.0 / (1.0 + noise * noise)
            pace = 1.0 + trust * (pace - 1.0)
            return _forecast(spent, pace * fmean(rest), pace * stdev(rest) * sqrt(1.0 + 1.0 / len(rest)))
        return self._day_from_hours(spent, now)

    def month(self, now: int) -> Forecast:
        """The UTC month of `now`."""
        moment = datetime.fromtimestamp(now / SECOND, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        start, end, today = int(first.timestamp()) // 86_400, int(following.timestamp()) // 86_400, now // DAY
        spent = sum((cost for day, cost in self.days.items() if start <= day < end), Decimal(0))
        now_day = self.day(now)
        rest_today, days_left = float(now_day.expected - now_day.spent), end - today - 1
        past = [float(self.days.get(day, 0)) for day in range(today - 14, today) if self._whole(day)]
        if len(past) < FEWEST:
            return _forecast(spent, rest_today + days_left * float(now_day.expected), None)
        deviation = stdev(past) * sqrt(days_left + days_left * days_left / len(past) + 1.0)
        return _forecast(spent, rest_today + days_left * fmean(past), deviation)

    def _whole(self, day: int) -> bool:
        return self.first is not None and day * 24 >= self.first

    def _split(self, day: int, moment: int) -> tuple[float, float]:
        """A past day's cost before and after the given moment of the day."""
        before = after = 0.0
        for hour in range(24):
            cost = float(self.hours.get(day * 24 + hour, 0))
            share = min(1.0, max(0.0, (moment - hour * HOUR) / HOUR))
            before += share * cost
            after += (1.0 - share) * cost
        return before, after

    def _day_from_hours(self, spent: Decimal, now: int) -> Forecast:
        """Without past days: the hours that were seen go on as they were."""
        hour, left = now // HOUR, (DAY - now % DAY) / HOUR
        first = hour if self.first is None else max(self.first, hour - 24)
        past = [float(self.hours.get(at, 0)) for at in range(first, hour)]
        if len(past) < FEWEST:
            seen = max(now - first * HOUR, 1) / HOUR
            recent = sum(float(self.hours.get(at, 0)) for at in range(first, hour + 1))
            return _forecast(spent, left * recent / max(seen, 0.1), None)
        return _forecast(spent, left * fmean(past), stdev(past) * sqrt(left + left * left / len(past)))


def _forecast(spent: Decimal, rest: float, deviation: float | None) -> Forecast:
    def money(value: float) -> Decimal:
        return spent + Decimal(max(0.0, value)).quantize(Decimal("0.000001"))

    if deviation is None:
        return Forecast(spent=spent, expected=money(rest), low=None, high=None)
    half = EIGHTY * deviation
    return Forecast(spent=spent, expected=money(rest), low=money(rest - half), high=money(rest + half))
