"""When calls come: bursts, growth, busy and quiet hours, weekends, and where most of them go."""

from math import sqrt
from statistics import fmean, stdev

import msgspec

from optimizer.core.analyzers.alerts import AlertBook
from optimizer.core.analyzers.rolling import EventClock, event_time
from optimizer.core.analyzers.values import DAY, HOUR, MINUTE, Condition, Findings, Insight, Report, insight_of
from optimizer.model import FeedbackEvent

KEPT_HOURS = 28 * 24
KEPT_MINUTES = 16
MAX_SERVICES = 1_000


class PatternSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's defaults (section 4.1)."""

    burst: float = 2.0
    growth: float = 0.2
    minimum_requests: int = 50
    average_minutes: int = 10
    peak: float = 1.5
    quiet: float = 0.5
    weekend: float = 0.3
    weekend_requests: int = 100
    hot_share: float = 0.2


class Arrivals(msgspec.Struct, array_like=True):
    """One service's calls by minute and by hour (UTC), and its own time."""

    clock: EventClock = msgspec.field(default_factory=EventClock)
    minutes: dict[int, int] = {}
    hours: dict[int, int] = {}
    total: int = 0
    first: int | None = None

    def add(self, time: int, received: int) -> None:
        """Count a call."""
        self.clock.observe(time, received)
        minute, hour = time // MINUTE, time // HOUR
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        if len(self.minutes) > KEPT_MINUTES:
            del self.minutes[min(self.minutes)]
        self.hours[hour] = self.hours.get(hour, 0) + 1
        if len(self.hours) > KEPT_HOURS:
            del self.hours[min(self.hours)]
        self.total += 1
        self.first = hour if self.first is None else min(self.first, hour)

    def between(self, start: int, end: int) -> int:
        """Calls of whole hours [start, end)."""
        return sum(self.hours.get(hour, 0) for hour in range(start, end))

    def whole_days(self, now: int) -> list[int]:
        """The days that were seen from their first hour to their last and are still kept."""
        if self.first is None:
            return []
        today = now // DAY
        start = max(-(-self.first // 24), (now // HOUR - KEPT_HOURS) // 24 + 1)
        return list(range(start, today))


class PatternState(msgspec.Struct, array_like=True):
    """Everything, as plain values."""

    services: dict[str, Arrivals]
    book: AlertBook


class PatternAnalyzer:
    """Feed it every call, ask it once a minute. All times are event times."""

    def __init__(self, settings: PatternSettings | None = None, state: PatternState | None = None) -> None:
        self._settings = PatternSettings() if settings is None else settings
        self._services: dict[str, Arrivals] = {} if state is None else state.services
        self._book = AlertBook("pattern") if state is None else state.book

    def state(self) -> PatternState:
        """Everything, as plain values; an analyzer made from it goes on exactly as this one."""
        return PatternState(self._services, self._book)

    def observe(self, event: FeedbackEvent) -> None:
        """Count one finished call."""
        arrivals = self._services.pop(event.service, None)
        if arrivals is None:
            arrivals = Arrivals()
            if len(self._services) >= MAX_SERVICES:
                del self._services[next(iter(self._services))]
        self._services[event.service] = arrivals  # last in the order: used most recently
        arrivals.add(event_time(event), event.received_at)

    def analyze(self, now: int) -> Report:
        """Each service in its own time, when arrivals are stamped `now`."""
        findings, settings = Findings(), self._settings
        today: dict[str, int] = {}
        for service, arrivals in sorted(self._services.items()):
            at = arrivals.clock.at(now)
            findings.events += arrivals.total
            hour = at // HOUR
            today[service] = arrivals.between(hour - 23, hour + 1)
            numbers = findings.metrics[service] = {"requests_24h": float(today[service])}
            if arrivals.total >= settings.minimum_requests:
                _check_burst(findings, service, arrivals, at, settings)
                _check_growth(findings, service, arrivals, at, settings)
                _check_hours(findings, service, arrivals, at, settings)
                _check_weekend(findings, service, arrivals, at, settings)
                numbers |= _next_hour(arrivals, at)
        _check_hot(findings, today, settings)
        return findings.report("pattern", now, self._book.update(now, findings.conditions))


def _check_burst(findings: Findings, service: str, arrivals: Arrivals, at: int, settings: PatternSettings) -> None:
    """The last whole minute against the ten before it; beyond what chance gives Poisson counts."""
    last = at // MINUTE - 1
    before = [arrivals.minutes.get(last - i, 0) for i in range(1, settings.average_minutes + 1)]
    if arrivals.first is None or (last - settings.average_minutes) * MINUTE < arrivals.first * HOUR:
        return
    count, usual = arrivals.minutes.get(last, 0), fmean(before)
    spread = max(stdev(before), sqrt(usual), 1.0)
    deviations = (count - usual) / spread
    if usual > 0.0 and count >= settings.burst * usual and deviations > 4.0:
        found = Condition(
            kind="burst",
            severity="warning",
            service=service,
            metric="requests_per_minute",
            value=float(count),
            threshold=settings.burst * usual,
            timestamp=last * MINUTE + MINUTE,
            title=f"{service}: {count} requests in a minute, {count / usual:.1f} times the usual",
            description=f"The ten minutes before had {usual:.1f} on average.",
        )
        findings.conditions.append(found)
        findings.insights.append(insight_of(found, {"usual": usual, "deviations": deviations}))


def _check_growth(findings: Findings, service: str, arrivals: Arrivals, at: int, settings: PatternSettings) -> None:
    """The last 7 days against the 7 before, or else the last 24 hours against the 24 before, by whole hours."""
    hour = at // HOUR
    if arrivals.first is None:
        return
    for name, span in (("week", 168), ("day", 24)):
        if arrivals.first > hour - 2 * span:
            continue
        new, old = arrivals.between(hour - span, hour), arrivals.between(hour - 2 * span, hour - span)
        if old < settings.minimum_requests:
            continue
        change = new / old - 1.0
        deviations = (new - old) / sqrt(new + old)
        if abs(change) > settings.growth and abs(deviations) > 3.0:
            word = "more" if change > 0 else "less"
            findings.insights.append(
                Insight(
                    kind="growth" if change > 0 else "decline",
                    severity="info",
                    service=service,
                    title=f"{service}: {abs(change):.0%} {word} requests than the {name} before",
                    description=f"{new} after {old}.",
                    evidence={"new": float(new), "old": float(old), "change": change, "deviations": deviations},
                )
            )
        return


def _check_hours(findings: Findings, service: str, arrivals: Arrivals, at: int, settings: PatternSettings) -> None:
    """Hours of the day that are busier or quieter than the average hour, over at least three whole days."""
    days = arrivals.whole_days(at)
    if len(days) < 3:
        return
    means = [fmean(arrivals.hours.get(day * 24 + hour, 0) for day in days) for hour in range(24)]
    average = fmean(means)
    if average <= 0.0:
        return
    busy = [hour for hour in range(24) if means[hour] > settings.peak * average]
    quiet = [hour for hour in range(24) if means[hour] < settings.quiet * average]
    if busy or quiet:
        findings.insights.append(
            Insight(
                kind="daily_pattern",
                severity="info",
                service=service,
                title=f"{service}: busy hours {_hours(busy)}, quiet hours {_hours(quiet)} (UTC)",
                description=f"{len(days)} whole days, {average:.1f} requests in the average hour.",
                evidence={f"hour_{hour:02d}": means[hour] for hour in range(24)} | {"days": float(len(days))},
            )
        )


def _check_weekend(findings: Findings, service: str, arrivals: Arrivals, at: int, settings: PatternSettings) -> None:
    """Weekends against working days, once a whole week was seen."""
    days = arrivals.whole_days(at)
    if len(days) < 7 or arrivals.total < settings.weekend_requests:
        return
    sums: dict[bool, list[int]] = {True: [], False: []}
    for day in days:
        sums[(day + 3) % 7 >= 5].append(arrivals.between(day * 24, day * 24 + 24))  # 1970-01-01 was a Thursday
    weekend, working = fmean(sums[True]), fmean(sums[False])
    if working > 0.0 and abs(weekend / working - 1.0) > settings.weekend:
        findings.insights.append(
            Insight(
                kind="weekly_pattern",
                severity="info",
                service=service,
                title=f"{service}: a day of the weekend has {weekend / working:.0%} of a working day's requests",
                description=f"{len(sums[True])} days of the weekend and {len(sums[False])} working days.",
                evidence={"weekend": weekend, "working_day": working},
            )
        )


def _check_hot(findings: Findings, today: dict[str, int], settings: PatternSettings) -> None:
    """Services with a large share of the day's traffic, and more than half as much again as an even share."""
    total = sum(today.values())
    if total < settings.minimum_requests or len(today) < 2:
        return
    for service, count in today.items():
        share = count / total
        if share > max(settings.hot_share, 1.5 / len(today)):
            findings.insights.append(
                Insight(
                    kind="hot_service",
                    severity="info",
                    service=service,
                    title=f"{service}: {share:.0%} of all requests of the last 24 hours",
                    description=f"{count} of {total}, {len(today)} services.",
                    evidence={"share": share, "requests": float(count), "total": float(total)},
                )
            )


def _next_hour(arrivals: Arrivals, at: int) -> dict[str, float]:
    """What the same hour of earlier days had, as a forecast with an 80 % interval; nothing before three days."""
    days, hour = arrivals.whole_days(at), (at // HOUR + 1) % 24
    if len(days) < 3:
        return {}
    past = [arrivals.hours.get(day * 24 + hour, 0) for day in days]
    mean = fmean(past)
    half = 1.2816 * max(stdev(past), sqrt(mean)) * sqrt(1.0 + 1.0 / len(past))
    return {"next_hour": mean, "next_hour_low": max(0.0, mean - half), "next_hour_high": mean + half}


def _hours(hours: list[int]) -> str:
    return ", ".join(f"{hour:02d}" for hour in hours) or "none"
