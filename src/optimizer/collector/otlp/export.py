"""One OTLP export: read it piece by piece, hand what it says to the intake, tell what was refused."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from optimizer.collector.intake import Intake, Item
from optimizer.collector.otlp.payloads import Group, Media, Signal, read_payload
from optimizer.collector.otlp.series import count_points, read_points
from optimizer.collector.otlp.spans import read_record, read_span
from optimizer.collector.otlp.values import read_attributes
from optimizer.model import InvalidArgument

CHUNK = 50  # items read between two checkpoints: a few milliseconds
SLICE = 2_000  # items in one append
REASONS = 5  # different reasons that are told; the numbers are of all
LONGEST = 1_000  # characters of the message


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an export, given when everything taken is durable.

    `refused` counts spans, log records or data points, as partial success does; a message without any is a warning.
    """

    taken: int
    duplicates: int
    ignored: int
    refused: int
    message: str


@dataclass(slots=True)
class _Progress:
    """The work in hand: items found and the number of the span, record or point that each came from."""

    items: list[Item] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    seen: int = 0
    taken: int = 0
    duplicates: int = 0
    ignored: int = 0
    refused: set[int] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)

    def find(self, items: list[Item]) -> None:
        """What one span, record or point says."""
        self.items += items
        self.origins += [self.seen] * len(items)
        self.ignored += not items

    def refuse(self, reason: str, origin: int | None = None) -> None:
        """Nothing of it is taken."""
        self.refused.add(self.seen if origin is None else origin)
        self.reasons[reason] += 1


async def export(intake: Intake, signal: Signal, body: bytes, media: Media) -> Outcome:
    """Take in an export request. The outcome comes after the durable append, so the sender may forget what it sent.

    Raises: InvalidArgument when the body is no such request; ResourceExhausted or StorageUnavailable when the sender
    has to try again: then some of it may be in the log, and what is sent again is not counted again.
    """
    with intake.reading(len(body)):
        payload = read_payload(signal, body, media)
        progress = _Progress()
        for reason in payload.refused:
            progress.refuse(reason)
            progress.seen += 1
        unread = 0
        for group in payload.groups:
            for _ in _read_group(signal, group, progress, intake):
                unread += 1
                if unread % CHUNK == 0:
                    await trio.lowlevel.checkpoint()
                if len(progress.items) >= SLICE:
                    await _flush(intake, progress)
        await _flush(intake, progress)
    intake.count(f"otlp_{signal.value}", "refused", len(progress.refused))
    intake.count(f"otlp_{signal.value}", "ignored", progress.ignored)
    intake.count(f"otlp_{signal.value}", "taken", progress.taken)
    intake.count(f"otlp_{signal.value}", "duplicate", progress.duplicates)
    return Outcome(
        progress.taken, progress.duplicates, progress.ignored, len(progress.refused), _message(progress.reasons)
    )


def _read_group(signal: Signal, group: Group, progress: _Progress, intake: Intake) -> Iterator[None]:
    """Read the items of a group one by one; yields after each."""
    now = intake.now()
    try:
        resource = read_attributes(group.resource.attributes, len(group.resource.attributes))
    except InvalidArgument as error:
        for _ in group.items:
            progress.refuse(f"its resource {error}")
            progress.seen += 1
        return
    for raw in group.items:
        if signal is Signal.METRICS:
            yield from _read_metric(raw, resource, progress, now)
        else:
            _read_item(signal, raw, resource, progress, intake, now)
            progress.seen += 1
            yield


def _read_item(
    signal: Signal, raw: object, resource: dict[str, object], progress: _Progress, intake: Intake, now: int
) -> None:
    try:
        if signal is Signal.TRACES:
            items, left_out = read_span(raw, resource, received_at=now, keep_content=intake.rules.keep_content())
        else:
            items, left_out = read_record(raw, resource, received_at=now)
    except InvalidArgument as error:
        progress.refuse(str(error))
        return
    progress.reasons.update(left_out)
    if left_out and not items:
        progress.refused.add(progress.seen)
    else:
        progress.find([*items])


def _read_metric(raw: object, resource: dict[str, object], progress: _Progress, now: int) -> Iterator[None]:
    if not count_points(raw):
        progress.ignored += 1
        yield
    for found in read_points(raw, resource, received_at=now):
        if isinstance(found, InvalidArgument):
            progress.refuse(str(found))
        else:
            progress.find([*found])
        progress.seen += 1
        yield


async def _flush(intake: Intake, progress: _Progress) -> None:
    if not progress.items:
        return
    items, origins = progress.items, progress.origins
    progress.items, progress.origins = [], []
    receipt = await intake.take(items)
    progress.taken += receipt.accepted
    progress.duplicates += receipt.duplicates
    for rejection in receipt.rejected:
        progress.refuse(rejection.error, origins[rejection.index])


def _message(reasons: Counter[str]) -> str:
    told = [reason if number == 1 else f"{number} times: {reason}" for reason, number in reasons.most_common(REASONS)]
    more = len(reasons) - len(told)
    return "; ".join([*told, f"and {more} other reasons"] if more else told)[:LONGEST]
