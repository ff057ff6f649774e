import msgspec

from optimizer.core.analyzers import AlertBook
from optimizer.core.analyzers.alerts import RECOVER, REMIND
from optimizer.core.analyzers.values import MINUTE, Condition, Severity


def condition(severity: Severity = "warning", kind: str = "high_latency", at: int = 0) -> Condition:
    return Condition(
        kind=kind,
        severity=severity,
        service="s",
        metric="m",
        value=2.0,
        threshold=1.0,
        timestamp=at,
        title="",
        description="",
    )


def test_one_episode_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    book, told = AlertBook("performance"), []
    for minute in range(30):
        holds = 3 <= minute < 15
        told += book.update(minute * MINUTE, [condition(at=minute * MINUTE)] if holds else [])
    assert [(alert.state, alert.timestamp // MINUTE) for alert in told] == [("firing", 4), ("resolved", 14 + RECOVER)]
    assert told[0].alert_id == told[1].alert_id
    assert told[0].since == 3 * MINUTE
    assert book.episodes == {}


def test_a_single_minute_is_not_told_unless_it_is_critical() -> None:
    book = AlertBook("performance")
    assert book.update(0, [condition("error")]) == []
    assert book.update(MINUTE, []) == []
    assert [alert.severity for alert in book.update(2 * MINUTE, [condition("critical")])] == ["critical"]


def test_a_gap_shorter_than_the_recovery_is_the_same_episode() -> None:
    book = AlertBook("cost")
    told = [book.update(m * MINUTE, [condition()] if m not in (5, 6) else []) for m in range(20)]
    assert [len(alerts) for alerts in told] == [0, 1] + [0] * 18


def test_growing_worse_is_told_and_a_long_episode_is_remembered() -> None:
    book = AlertBook("quality")
    severities: list[Severity] = ["warning", "warning", "critical", "warning", "critical"]
    states = [[a.state for a in book.update(m * MINUTE, [condition(s)])] for m, s in enumerate(severities)]
    assert states == [[], ["firing"], ["escalated"], [], []]
    later = book.update(2 * MINUTE + REMIND, [condition("critical")])
    assert [alert.state for alert in later] == ["reminder"]


def test_conditions_of_other_kinds_services_and_metrics_are_other_episodes() -> None:
    book = AlertBook("quality")
    told = book.update(0, [condition("critical"), condition("critical", kind="other")])
    assert len({alert.alert_id for alert in told}) == 2


def test_a_restored_book_goes_on() -> None:
    book = AlertBook("anomaly")
    book.update(0, [condition()])
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=AlertBook)
    assert restored.update(MINUTE, [condition()]) == book.update(MINUTE, [condition()])
