from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.analyzers import Budget, CostAnalyzer, CostSettings, CostState, Report
from optimizer.core.analyzers.budget import Spending
from optimizer.core.analyzers.values import DAY, HOUR, MINUTE, SECOND
from tests.core.analyzers.calls import START, call, cents, steady


def kinds(report: Report) -> dict[str, str]:
    return {insight.kind: insight.severity for insight in report.insights}


def run(analyzer: CostAnalyzer, minutes: float, each: float, start: float = 0.0) -> Report:
    for time, rng in steady(minutes * 60, 1.0, start * 60, seed=int(start)):
        analyzer.observe(call(time, model="m", cost_usd=cents(each * rng.uniform(0.5, 1.5)), input_tokens=300))
    return analyzer.analyze(START + int((start + minutes) * MINUTE) + SECOND)


def test_sums_are_exact_and_an_unknown_cost_is_not_a_zero() -> None:
    analyzer = CostAnalyzer()
    for time, _ in steady(100):
        analyzer.observe(call(time, cost_usd=Decimal("0.1")))
    analyzer.observe(call(100 * SECOND))
    analyzer.observe(call(100 * SECOND, cost_usd=Decimal("NaN")))
    found = analyzer.forecasts(START + HOUR, "s")
    assert found is not None
    assert found[0].spent == found[1].spent == Decimal("10.0")
    assert analyzer.unpriced == 2
    assert analyzer.analyze(START + 101 * SECOND).metrics["s"]["cost_per_call_usd"] == pytest.approx(0.1)


@pytest.mark.parametrize(("spent", "severity"), [(79, None), (80, "warning"), (90, "critical"), (120, "critical")])
def test_the_daily_budget_is_told_at_80_and_90_percent(spent: int, severity: str | None) -> None:
    analyzer = CostAnalyzer(CostSettings(budget=Budget(daily_usd=Decimal(100))))
    analyzer.observe(call(23 * HOUR, cost_usd=Decimal(spent)))
    assert kinds(analyzer.analyze(START + 23 * HOUR + MINUTE)).get("daily_budget") == severity


def test_a_service_has_its_own_budget_beside_that_of_all() -> None:
    own = {"s": Budget(monthly_usd=Decimal(10))}
    analyzer = CostAnalyzer(CostSettings(services=own))
    analyzer.observe(call(0, cost_usd=Decimal(9)))
    analyzer.observe(call(1, service="t", cost_usd=Decimal(9)))
    report = analyzer.analyze(START + MINUTE)
    assert [(i.kind, i.service) for i in report.insights] == [("monthly_budget", "s")]
    assert report.metrics["s"]["monthly_budget_used"] == pytest.approx(0.9)
    assert report.metrics[""]["monthly_spent_usd"] == 18.0


def test_a_budget_that_will_not_last_is_told_before_it_is_spent() -> None:
    analyzer = CostAnalyzer(CostSettings(budget=Budget(daily_usd=Decimal(100))))
    for hour in range(5 * 24 + 8):
        analyzer.observe(call(hour * HOUR, cost_usd=Decimal(3) if hour < 5 * 24 else Decimal(7)))
    report = analyzer.analyze(START + (5 * 24 + 8) * HOUR)
    assert kinds(report)["daily_budget_forecast"] == "warning"


def test_a_cost_spike_is_told_against_the_past_hour() -> None:
    analyzer = CostAnalyzer()
    assert kinds(run(analyzer, 40, 0.001)) == {}
    report = run(analyzer, 5, 0.004, 40)
    assert kinds(report)["cost_spike"] == "critical"
    assert kinds(report)["cost_per_call_rising"] == "warning"


def test_caching_is_suggested_where_long_prompts_are_not_cached_and_promises_nothing() -> None:
    analyzer = CostAnalyzer()
    for time, _ in steady(150):
        analyzer.observe(call(time, model="long", input_tokens=4_000, cost_usd=Decimal("0.01")))
        analyzer.observe(call(time, model="cached", input_tokens=4_000, cache_read_tokens=3_000))
    found = analyzer.analyze(START + 3 * MINUTE).recommendations
    assert [(r.kind, r.action) for r in found] == [("prompt_caching", "investigate")]
    assert found[0].title.startswith("long")


def test_a_forecast_of_regular_spending_is_right_and_its_interval_holds_it() -> None:
    spending = Spending()
    for hour in range(14 * 24 + 6):
        day_share = 2 if 8 <= hour % 24 < 18 else 1
        spending.add(Decimal(day_share) + Decimal(hour // 24 % 3) / 10, START + hour * HOUR)
    day = spending.day(START + 14 * DAY + 6 * HOUR)
    truth = sum(2 if 8 <= hour < 18 else 1 for hour in range(24)) + 24 * 0.2
    assert day.low is not None
    assert day.high is not None
    assert float(day.low) <= truth <= float(day.high)
    assert float(day.expected) == pytest.approx(truth, rel=0.1)
    month = spending.month(START + 14 * DAY + 6 * HOUR)
    assert float(month.expected) == pytest.approx(31 * 36.4, rel=0.1)
    assert month.spent == sum(spending.days.values())


def test_without_history_a_forecast_has_no_interval() -> None:
    spending = Spending()
    spending.add(Decimal(1), START + 5 * MINUTE)
    day = spending.day(START + 30 * MINUTE)
    assert day.low is None
    assert day.high is None
    assert day.expected >= day.spent == Decimal(1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40 * 24 * 60), st.integers(0, 10**6)), min_size=1, max_size=50))
def test_days_and_months_add_up_to_the_last_micro_dollar(costs: list[tuple[int, int]]) -> None:
    spending = Spending()
    for minute, micro in costs:
        spending.add(Decimal(micro) / 1_000_000, START + minute * MINUTE)
    assert sum(spending.days.values()) == sum(Decimal(micro) / 1_000_000 for _, micro in costs)
    january = sum(Decimal(micro) / 1_000_000 for minute, micro in costs if minute < 31 * 24 * 60)
    assert spending.month(START + 15 * DAY).spent == january
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(spending), type=Spending)
    assert restored == spending


def test_a_restored_analyzer_goes_on_byte_for_byte() -> None:
    straight, first = CostAnalyzer(), CostAnalyzer()
    run(straight, 30, 0.001)
    run(first, 30, 0.001)
    encoded = msgspec.msgpack.encode(first.state())
    second = CostAnalyzer(state=msgspec.msgpack.decode(encoded, type=CostState))
    assert run(second, 6, 0.01, 30) == run(straight, 6, 0.01, 30)
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())
