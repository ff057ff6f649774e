"""What both front doors administer: entries, optimizations, flags, alerts, jobs; one store and one set of topics."""

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
    """The offices over a store, which may be away. `now` gives microseconds since 1970, `nonce` 8 random bytes."""
    return Offices(
        entries=Entries(store, news.entries, now),
        optimizations=Optimizations(store, news.optimizations, now=now, new_id=lambda: make_id(now(), nonce())),
        flags=Flags(store, news.system, now),
        alerts=Alerts(store, news.alerts),
        jobs=Jobs(now),
    )


def make_id(now: int, nonce: bytes) -> str:
    """A version 7 UUID (RFC 9562 section 5.7): ids sort by their time, here to a quarter of a microsecond.

    `rand_a` holds the part of the millisecond (section 6.2, method 3), the first 62 bits of the nonce fill `rand_b`.
    """
    fraction = now % 1000 * 4096 // 1000
    random = int.from_bytes(nonce[:8].ljust(8, b"\0"), "big") >> 2
    text = f"{(now // 1000 & (1 << 48) - 1) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
