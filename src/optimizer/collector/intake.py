"""Intake: validate, price, append durably, then acknowledge. One bad item never rejects the batch."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio
from msgspec.structs import replace
from pydantic import ValidationError

from optimizer.collector.attribution import attribute
from optimizer.collector.schema import feedback_item, metric_item, score_item
from optimizer.core import records
from optimizer.core.assignment import verify
from optimizer.core.declaration import OBSERVED, observed_service
from optimizer.core.fold import names_of
from optimizer.core.records import Declared
from optimizer.model import FeedbackEvent, InvalidArgument, Listing, MetricSample, ResourceExhausted, Score
from optimizer.storage import Log, Record

T = TypeVar("T")
Item = FeedbackEvent | Score | MetricSample
READING = 64 << 20
"""Bytes of bodies being read into items at once: parsed they take several times as much."""

SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
CHUNK = 200  # items validated between two checkpoints: about 3 ms, so a large batch does not stall the other tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Most items between arrival and durability, most in one batch, and how far event times may be from ours."""

    pending: int
    batch: int
    future_us: int
    past_us: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why item `index` of a batch was refused; `field` is None when it is the whole item."""

    index: int
    field: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch; given only after everything accepted is durable."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]


def count_nothing(source: str, result: str, number: int) -> None:
    """For an intake that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How telemetry is taken in: whether contents are kept, and how many services may exist before those that nobody
    declared are refused instead of observed. Callables are asked anew, so that they reload live."""

    keep_content: Callable[[], bool] = lambda: False
    services: int = 200


class Price(Protocol):
    """Prices a call that did not report its cost; returns it unchanged when the price is unknown."""

    def __call__(self, event: FeedbackEvent) -> FeedbackEvent: ...


class Intake:
    """The one door into the log for calls and scores, whatever protocol brought them.

    `bounds.pending` bounds the items between arrival and durability: beyond it `ResourceExhausted` sheds early, before
    work is done (a single batch larger than the bound is let through alone).
    """

    def __init__(
        self,
        log: Log,
        listings: Callable[[], Mapping[str, Listing]],
        *,
        keys: tuple[bytes, ...],
        price: Price,
        now: Callable[[], int],
        bounds: Bounds,
        rules: Rules | None = None,
        count: Callable[[str, str, int], None] = count_nothing,
    ) -> None:
        self._log = log
        self._listings = listings
        self._keys = keys
        self._price = price
        self.now = now
        self.rules = rules or Rules()
        self.count = count
        self._bounds = bounds
        self._pending = 0
        self._reading = 0

    @property
    def pending(self) -> int:
        """Items accepted for work and not yet durable."""
        return self._pending

    async def feedback(self, items: Sequence[object]) -> Receipt:
        """Take finished calls. Raises `ResourceExhausted` or `StorageUnavailable`; then nothing was acknowledged."""
        return self._counted("feedback", await self._take(items, self._feedback_record))

    async def scores(self, items: Sequence[object]) -> Receipt:
        """Take later judgements of calls."""
        return self._counted("scores", await self._take(items, self._score_record))

    async def metrics(self, items: Sequence[object]) -> Receipt:
        """Take points of numeric series. They have no idempotency key: what is sent twice is recorded twice."""
        return self._counted("metrics", await self._take(items, self._metric_record))

    async def take(self, items: Sequence[Item]) -> Receipt:
        """Take what telemetry said, already read. A service that nobody declared is observed from now on.

        A sample has a key here: the same series at the same time is one point, however often it is sent.
        """
        now = self.now()
        observed = self._observe(items)
        first = [
            Record(kind=records.SERVICE, key=name, payload=records.encode(Declared(name, now, listing.service, True)))
            for name, listing in observed.items()
        ]
        return await self._take(items, lambda item, at: self._read_record(item, at, observed), first)

    @contextmanager
    def reading(self, size: int) -> Iterator[None]:
        """Around the reading of a body of that size. Raises `ResourceExhausted` when too much is being read already."""
        if self._reading and self._reading + size > READING:
            raise ResourceExhausted(f"{self._reading} bytes of other requests are being read")
        self._reading += size
        try:
            yield
        finally:
            self._reading -= size

    def _counted(self, source: str, receipt: Receipt) -> Receipt:
        self.count(source, "taken", receipt.accepted)
        self.count(source, "duplicate", receipt.duplicates)
        self.count(source, "refused", len(receipt.rejected))
        return receipt

    async def _take(
        self, items: Sequence[T], make: Callable[[T, int], Record], first: Sequence[Record] = ()
    ) -> Receipt:
        if len(items) > self._bounds.batch:
            raise InvalidArgument(f"{len(items)} items in one batch; at most {self._bounds.batch}")
        if self._pending and self._pending + len(items) > self._bounds.pending:
            raise ResourceExhausted(f"{self._pending} items are waiting to become durable")
        self._pending += len(items)
        try:
            found: list[Record] = []
            rejected: list[Rejection] = []
            now = self.now()
            for start in range(0, len(items), CHUNK):
                for index in range(start, min(start + CHUNK, len(items))):
                    try:
                        found.append(make(items[index], now))
                    except ValidationError as error:
                        rejected.append(_explain(index, error))
                    except InvalidArgument as error:
                        rejected.append(Rejection(index, error.field, str(error)))
                await trio.lowlevel.checkpoint()
            duplicates = 0
            if found:
                keys = {record.key for record in found}
                before = [record for record in first if record.key in keys]
                offsets = (await self._log.append([*before, *found])).offsets
                duplicates = offsets[len(before) :].count(None)
            return Receipt(len(found) - duplicates, duplicates, tuple(rejected))
        finally:
            self._pending -= len(items)

    def _feedback_record(self, item: object, now: int) -> Record:
        fields = feedback_item.validate_python(item)
        event = FeedbackEvent(received_at=now, **fields)
        return self._call_record(event, now, self._listings().get(event.service))

    def _call_record(self, event: FeedbackEvent, now: int, listing: Listing | None) -> Record:
        self._check_time(event.occurred_at, now)
        if listing is None:
            raise InvalidArgument(f"service {event.service!r} is not declared", field="service")
        if event.assignment_id is not None and verify(self._keys, event.assignment_id).service != event.service:
            raise InvalidArgument("the assignment belongs to another service", field="assignment_id")
        if event.variant is not None and event.variant not in listing.variants:
            raise InvalidArgument(f"service {event.service!r} has no variant {event.variant!r}", field="variant")
        event = self._price(event) if event.cost_usd is None else replace(event, cost_source="reported")
        dedup = records.idempotency_key(records.FEEDBACK, event.service, event.event_id)
        return Record(kind=records.FEEDBACK, key=event.service, payload=records.encode(event), dedup=dedup)

    def _score_record(self, item: object, now: int) -> Record:
        fields = score_item.validate_python(item)
        fields.setdefault("name", "quality")
        return self._judgement_record(Score(received_at=now, **fields), now)

    def _judgement_record(self, score: Score, now: int) -> Record:
        self._check_time(score.occurred_at, now)
        if not names_of(score):
            raise InvalidArgument("say which call: assignment_id, request_id or response_id", field="assignment_id")
        service = score.service or ""
        if score.assignment_id is not None:
            service = verify(self._keys, score.assignment_id).service
        dedup = records.idempotency_key(records.SCORE, service, score.score_id)
        return Record(kind=records.SCORE, key=service, payload=records.encode(score), dedup=dedup)

    def _metric_record(self, item: object, now: int) -> Record:
        fields = metric_item.validate_python(item)
        if fields.get("timestamp") is None:
            fields["timestamp"] = now
        sample = MetricSample(received_at=now, **fields)
        self._check_sample_time(sample, now)
        return Record(kind=records.METRIC, key=sample.name, payload=records.encode(sample))

    def _observe(self, items: Sequence[Item]) -> dict[str, Listing]:
        """The services of these calls that are not known yet, as far as there is room for them."""
        known = self._listings()
        named = {item.service for item in items if isinstance(item, FeedbackEvent)}
        new = sorted(name for name in named - known.keys() if SERVICE_NAME.fullmatch(name))
        room = max(self.rules.services - len(known), 0)
        return {name: Listing(observed_service(name), frozenset({OBSERVED})) for name in new[:room]}

    def _read_record(self, item: Item, now: int, observed: Mapping[str, Listing]) -> Record:
        """The record of an item that was read from telemetry."""
        if isinstance(item, FeedbackEvent):
            if not item.service:
                raise InvalidArgument("names no service: set service.name or llm_optimizer.service", field="service")
            listing = self._listings().get(item.service) or observed.get(item.service)
            return self._call_record(item if listing is None else attribute(item, listing), now, listing)
        if isinstance(item, Score):
            return self._judgement_record(item, now)
        self._check_sample_time(item, now)
        tags = "\0".join(f"{name}={value}" for name, value in sorted(item.tags.items()))
        dedup = records.idempotency_key(records.METRIC, item.name, f"{item.timestamp}\0{tags}")
        return Record(kind=records.METRIC, key=item.name, payload=records.encode(item), dedup=dedup)

    def _check_sample_time(self, sample: MetricSample, now: int) -> None:
        if sample.timestamp > now + self._bounds.future_us:
            raise InvalidArgument("lies in the future: check the sender's clock", field="timestamp")

    def _check_time(self, moment: int, now: int) -> None:
        if moment > now + self._bounds.future_us:
            ahead = (moment - now) / 1e6
            raise InvalidArgument(f"lies {ahead:.0f} s in the future: check the sender's clock", field="occurred_at")
        if moment < now - self._bounds.past_us:
            raise InvalidArgument("lies further in the past than this server accepts", field="occurred_at")


def _explain(index: int, error: ValidationError) -> Rejection:
    """The first problem of the item, named by its path; the value itself is not repeated (it may hold user text)."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"][:2])
    return Rejection(index, path or None, str(first["msg"]))
