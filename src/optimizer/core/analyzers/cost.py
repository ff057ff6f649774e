"""What each service costs: budgets, forecasts, spikes, the cost of one call, and which models it goes to."""

from decimal import Decimal
from math import sqrt

import msgspec

from optimizer.core.analyzers.alerts import AlertBook
from optimizer.core.analyzers.budget import Budget, Forecast, Spending
from optimizer.core.analyzers.rolling import RollingBook, RollingState, View, event_time
from optimizer.core.analyzers.values import (
    MINUTE,
    Condition,
    Findings,
    Insight,
    Recommendation,
    Report,
    Severity,
    insight_of,
)
from optimizer.model import FeedbackEvent

MAX_MODELS = 500
"""(service, model) pairs whose costs are kept apart; others share the name "(other)"."""

MAX_SERVICES = 1_000
"""Services whose spending is kept apart; others count in the total alone."""

EVERYBODY = ""
"""The name under which the total over all services is reported."""


class CostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's defaults (section 4.1). `budget` is for all services together, `services` for each one named."""

    budget: Budget = Budget(daily_usd=Decimal(100), monthly_usd=Decimal(3000))
    services: dict[str, Budget] = {}
    warning: float = 0.8
    critical: float = 0.9
    spike: float = 0.5
    spike_critical: float = 1.0
    minimum_delta_usd: float = 0.01
    rising: float = 0.1
    cache_requests: int = 100
    cache_tokens: float = 1_024.0


class ModelUse(msgspec.Struct, array_like=True):
    """What one model was used for by one service."""

    requests: int = 0
    cost: Decimal = Decimal(0)
    input_tokens: int = 0
    cache_read_tokens: int = 0


class CostState(msgspec.Struct, array_like=True):
    """Everything, as plain values."""

    services: dict[str, RollingState]
    book: AlertBook
    spending: dict[str, Spending]
    models: dict[str, ModelUse]
    unpriced: int


class CostAnalyzer:
    """Feed it every call, ask it once a minute. A call of unknown cost is counted in `unpriced`, never as free."""

    def __init__(self, settings: CostSettings | None = None, state: CostState | None = None) -> None:
        self._settings = CostSettings() if settings is None else settings
        self._services = RollingBook(None if state is None else state.services)
        self._book = AlertBook("cost") if state is None else state.book
        self._spending: dict[str, Spending] = {EVERYBODY: Spending()} if state is None else state.spending
        self._models: dict[str, ModelUse] = {} if state is None else state.models
        self.unpriced = 0 if state is None else state.unpriced

    def state(self) -> CostState:
        """Everything, as plain values; an analyzer made from it goes on exactly as this one."""
        return CostState(self._services.state(), self._book, self._spending, self._models, self.unpriced)

    def observe(self, event: FeedbackEvent) -> None:
        """Count one finished call."""
        cost = event.cost_usd if event.cost_usd is not None and event.cost_usd.is_finite() else None
        self._services.add(
            event.service, event_time(event), event.received_at, {"cost_usd": None if cost is None else float(cost)}
        )
        use = self._model(event.service, event.response_model or event.model or "(unknown)")
        use.requests += 1
        use.input_tokens += event.input_tokens or 0
        use.cache_read_tokens += event.cache_read_tokens or 0
        if cost is None:
            self.unpriced += 1
            return
        use.cost += cost
        self._spending[EVERYBODY].add(cost, event_time(event))
        own = self._spending.get(event.service)
        if own is None and len(self._spending) <= MAX_SERVICES:
            own = self._spending[event.service] = Spending()
        if own is not None:
            own.add(cost, event_time(event))

    def forecasts(self, now: int, service: str = EVERYBODY) -> tuple[Forecast, Forecast] | None:
        """(day, month) of a service, or of all together; None for one that never cost anything."""
        spending = self._spending.get(service)
        return None if spending is None or spending.first is None else (spending.day(now), spending.month(now))

    def analyze(self, now: int) -> Report:
        """The last five minutes, the day and the month of each service, in its own time."""
        findings, latest = Findings(), 0
        for view in self._services.views(now):
            latest = max(latest, view.at)
            findings.events += view.tally.events
            numbers = findings.metrics[view.service] = {}
            cost = view.tally.metrics.get("cost_usd")
            if cost is not None and (summary := cost.summary()) is not None:
                numbers |= {"cost_usd": summary.total, "cost_per_call_usd": summary.mean}
            _check_spike(findings, view, self._settings)
            _check_price(findings, view, self._settings)
            self._check_budget(findings, view.service, view.at, self._settings.services.get(view.service))
        self._check_budget(findings, EVERYBODY, latest, self._settings.budget)
        self._check_models(findings)
        return findings.report("cost", now, self._book.update(now, findings.conditions))

    def _model(self, service: str, model: str) -> ModelUse:
        key = f"{service}\x1f{model}"
        if key not in self._models and len(self._models) >= MAX_MODELS:
            key = f"{service}\x1f(other)" if f"{service}\x1f(other)" in self._models else "(other)\x1f(other)"
        found = self._models.get(key)
        if found is None:
            found = self._models[key] = ModelUse()
        return found

    def _check_budget(self, findings: Findings, service: str, at: int, budget: Budget | None) -> None:
        found = self.forecasts(at, service)
        if found is None:
            return
        limits = (None, None) if budget is None else (budget.daily_usd, budget.monthly_usd)
        for period, forecast, limit in zip(("daily", "monthly"), found, limits, strict=True):
            numbers = findings.metrics.setdefault(service, {})
            numbers[f"{period}_spent_usd"] = float(forecast.spent)
            numbers[f"{period}_expected_usd"] = float(forecast.expected)
            if limit is not None and limit > 0:
                numbers[f"{period}_budget_used"] = float(forecast.spent / limit)
                _check_limit(findings, service, period, at, forecast, limit, self._settings)

    def _check_models(self, findings: Findings) -> None:
        """Prompt caching is worth a look where long prompts are sent often and hardly a token comes from a cache."""
        for key, use in sorted(self._models.items()):
            service, model = key.split("\x1f")
            if use.requests <= self._settings.cache_requests:
                continue
            tokens = use.input_tokens / use.requests
            cached = use.cache_read_tokens / use.input_tokens if use.input_tokens else 0.0
            if tokens >= self._settings.cache_tokens and cached < 0.05:
                findings.recommendations.append(
                    Recommendation(
                        kind="prompt_caching",
                        priority="low",
                        action="investigate",
                        service=service,
                        title=f"{model}: {tokens:.0f} input tokens a call, {cached:.1%} of them from the cache",
                        description="If prompts share a beginning, the provider's cache may lower its price. "
                        "What that would save is not known before it is tried.",
                        evidence={
                            "requests": float(use.requests),
                            "input_tokens_per_call": tokens,
                            "cached_share": cached,
                            "cost_usd": float(use.cost),
                        },
                    )
                )


def _check_limit(
    findings: Findings, service: str, period: str, at: int, forecast: Forecast, limit: Decimal, settings: CostSettings
) -> None:
    used = float(forecast.spent / limit)
    who = service or "All services"
    severity: Severity | None = None
    if used >= settings.warning:
        severity = "critical" if used >= settings.critical else "warning"
        kind, title = f"{period}_budget", f"{who}: {used:.0%} of the {period} budget is spent"
    elif forecast.low is not None and forecast.low > limit:
        severity = "warning"
        kind, title = f"{period}_budget_forecast", f"{who}: the {period} budget will not last"
    if severity is None:
        return
    interval = "" if forecast.low is None else f" (80 % interval {forecast.low:.2f} to {forecast.high:.2f})"
    found = Condition(
        kind=kind,
        severity=severity,
        service=service,
        metric=f"{period}_spent_usd",
        value=float(forecast.spent),
        threshold=float(limit),
        timestamp=at,
        title=title,
        description=f"{forecast.spent:.2f} of {limit:.2f} USD; expected at the end {forecast.expected:.2f}{interval}.",
    )
    findings.conditions.append(found)
    findings.insights.append(insight_of(found, {"used": used, "expected": float(forecast.expected)}))


def _check_spike(findings: Findings, view: View, settings: CostSettings) -> None:
    usual, cost = view.rolling.usual("cost_usd.total"), view.tally.metrics.get("cost_usd")
    summary = None if cost is None else cost.summary()
    if usual is None or summary is None or usual.mean <= 0.0:
        return
    rate = summary.total * MINUTE / view.span
    change = rate / usual.mean - 1.0
    deviations = (rate - usual.mean) / max(sqrt(usual.variance), 0.02 * usual.mean)
    if change > settings.spike and deviations > 3.0 and rate - usual.mean >= settings.minimum_delta_usd:
        found = Condition(
            kind="cost_spike",
            severity="critical" if change > settings.spike_critical else "warning",
            service=view.service,
            metric="cost_usd_per_minute",
            value=rate,
            threshold=usual.mean * (1.0 + settings.spike),
            timestamp=view.at,
            title=f"{view.service}: {change:.0%} more cost a minute than usual",
            description=f"{rate:.4f} USD a minute; the past hour's minutes cost {usual.mean:.4f} on average.",
        )
        findings.conditions.append(found)
        findings.insights.append(insight_of(found, {"change": change, "deviations": deviations, "usual": usual.mean}))


def _check_price(findings: Findings, view: View, settings: CostSettings) -> None:
    """The cost of one call, against its past hour."""
    usual, cost = view.rolling.usual("cost_usd.mean"), view.tally.metrics.get("cost_usd")
    summary = None if cost is None else cost.summary()
    if usual is None or summary is None or summary.variance is None or usual.mean <= 0.0:
        return
    change = summary.mean / usual.mean - 1.0
    error = sqrt(summary.variance / summary.count + usual.variance / min(usual.count, 60))
    if change > settings.rising and error > 0.0 and (summary.mean - usual.mean) / error > 3.0:
        findings.insights.append(
            Insight(
                kind="cost_per_call_rising",
                severity="warning",
                service=view.service,
                title=f"{view.service}: a call costs {change:.0%} more than usual",
                description=f"{summary.mean:.6f} USD a call; the past hour's minutes had {usual.mean:.6f} on average.",
                evidence={"cost_per_call": summary.mean, "usual": usual.mean, "change": change},
            )
        )
