"""What both front doors administer: entries, optimizations, flags, alerts, jobs, over one store and one set of topics."""

from collections.abc import Callable
from dataclasses import dataclass

from optimizer.bus import News
from optimizer.processor.administration import Flags, Jobs
from optimizer.processor.alerts import Alerts
from optimizer.processor.entries import Entries
from optimizer.processor.optimizations import Optimizations
from optimizer.storage import Store


@dataclass(frozen=True, slots=True)
class Offices:
    """One of each. They keep nothing in memory but the jobs, so they may outlive the services of the tree."""

    entries: Entries
    optimizations: Optimizations
    flags: Flags
    alerts: Alerts
    jobs: Jobs


def make_offices(store: Store, news: News, *, now: Callable[[], int], nonce: Callable[[], bytes]) -> Offices:
    """The offices over a store (which may be away at times). `now` is microseconds since 1970; `nonce` random bytes."""
    return Offices(
        entries=Entries(store, news.entries, now),
        optimizations=Optimizations(store, news.optimizations, now=now, new_id=lambda: make_id(now(), nonce())),
        flags=Flags(store, news.system, now),
        alerts=Alerts(store, news.alerts),
        jobs=Jobs(now),
    )


def make_id(now: int, nonce: bytes) -> str:
    """A version 7 UUID (RFC 9562 section 5.7): ids sort by time. Only the first 74 bits of the nonce are used."""
    random = int.from_bytes(nonce[:10].ljust(10, b"\0"), "big") >> 6
    value = (
        (now // 1000 & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 62 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    )
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
