"""Streams of calls for the analyzers' tests."""

import random
from collections.abc import Iterator
from decimal import Decimal

from optimizer.core.analyzers.values import SECOND
from optimizer.model import FeedbackEvent

START = 1_767_225_600 * SECOND
"""Thursday, 2026-01-01 00:00 UTC."""


def call(time: int, service: str = "s", **reported: object) -> FeedbackEvent:
    """One call at `time` microseconds after START; it arrives a second later unless said otherwise."""
    fields = {"received_at": START + time + SECOND, **reported}
    return FeedbackEvent(
        event_id=str(time),
        service=service,
        occurred_at=START + time,
        **fields,  # type: ignore[arg-type]  # each test names fields of FeedbackEvent
    )


def steady(
    seconds: float, every: float = 1.0, start: float = 0.0, seed: int = 0
) -> Iterator[tuple[int, random.Random]]:
    """Times (microseconds after START) of calls `every` so many seconds, with the stream's generator."""
    rng = random.Random(seed)
    for i in range(int(seconds / every)):
        yield int((start + i * every) * SECOND), rng


def cents(value: float) -> Decimal:
    """An amount of money from a float that is exact to a micro-dollar."""
    return Decimal(round(value * 1_000_000)) / 1_000_000
