"""From a batch of records into the log: returns when every item is durable or known to be refused."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from optimizer.collector.intake import Intake, Receipt
from optimizer.collector.kafka.contents import Contents, ReadProtobuf, Taken, read_contents
from optimizer.collector.kafka.status import Status
from optimizer.collector.otlp import export
from optimizer.model import InvalidArgument, ResourceExhausted, Unavailable

SLICE = 1_000  # items in one append
EXPORTS = 8  # OTLP records under way at once: they share their appends' syncs
PAUSE_S = 0.1  # first pause while the log does not take more; doubles up to
LONGEST_PAUSE_S = 5.0

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")
Door = Callable[[Sequence[object]], Awaitable[Receipt]]


@dataclass(slots=True)
class _Batch:
    """Items of several records, and which record each came from."""

    items: list[object] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)

    def add(self, items: Sequence[object], origin: int) -> None:
        self.items += items
        self.origins += [origin] * len(items)


class Delivery:
    """Delivers to whatever intake is there; while there is none, or it takes nothing, it waits and `status` says so."""

    def __init__(self, intake: Callable[[], Intake], read_protobuf: ReadProtobuf, status: Status) -> None:
        self._intake = intake
        self._read_protobuf = read_protobuf
        self._status = status

    async def deliver(self, records: Sequence[Taken]) -> dict[int, str]:
        """Deliver all of them. Gives why records were refused, in whole or in part, by their index.

        A record of which anything was refused is to be kept whole: delivering the rest of it again changes nothing.
        """
        refused: dict[int, str] = {}
        calls, scores = _Batch(), _Batch()
        exports: list[tuple[int, bytes, Contents]] = []
        for index, record in enumerate(records):
            try:
                contents = read_contents(record, self._read_protobuf)
            except InvalidArgument as error:
                refused[index] = str(error)
                continue
            calls.add(contents.calls, index)
            scores.add(contents.scores, index)
            if contents.export is not None and record.value is not None:
                exports.append((index, record.value, contents))
            await trio.lowlevel.checkpoint()
        await self._take_all(lambda items: self._intake().feedback(items), calls, refused)
        await self._take_all(lambda items: self._intake().scores(items), scores, refused)
        await self._export_all(exports, refused)
        return refused

    async def _take_all(self, door: Door, batch: _Batch, refused: dict[int, str]) -> None:
        for start in range(0, len(batch.items), SLICE):
            part = _Batch(batch.items[start : start + SLICE], batch.origins[start : start + SLICE])
            await self._take(door, part, refused)

    async def _take(self, door: Door, batch: _Batch, refused: dict[int, str]) -> None:
        async def take() -> Receipt | None:
            try:
                return await door(batch.items)
            except InvalidArgument as error:  # larger than one append may be: smaller pieces will do
                if len(batch.items) == 1:
                    refused.setdefault(batch.origins[0], str(error))
                return None

        receipt = await self._patiently(take)
        if receipt is not None:
            for rejection in receipt.rejected:
                where = "" if rejection.field is None else f"{rejection.field}: "
                refused.setdefault(batch.origins[rejection.index], f"{where}{rejection.error}")
        elif len(batch.items) > 1:
            half = len(batch.items) // 2
            await self._take(door, _Batch(batch.items[:half], batch.origins[:half]), refused)
            await self._take(door, _Batch(batch.items[half:], batch.origins[half:]), refused)

    async def _export_all(self, exports: Sequence[tuple[int, bytes, Contents]], refused: dict[int, str]) -> None:
        limit = trio.CapacityLimiter(EXPORTS)

        async def export_one(index: int, body: bytes, contents: Contents) -> None:
            if contents.export is None:
                return
            signal, media = contents.export

            async def send() -> str:
                try:
                    outcome = await export(self._intake(), signal, body, media)
                except InvalidArgument as error:
                    return str(error)
                return outcome.message if outcome.refused else ""

            async with limit:
                reason = await self._patiently(send)
            if reason:
                refused[index] = reason

        async with trio.open_nursery() as nursery:
            for each in exports:
                nursery.start_soon(export_one, *each)

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Try until the intake takes it: the offsets are not committed before, so nothing is lost meanwhile."""
        pause = PAUSE_S
        waited = False
        while True:
            try:
                done = await act()
            except (ResourceExhausted, Unavailable) as error:
                self._status.troubled(f"waits for the log: {error}")
                waited = True
                await trio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            if waited:
                self._status.well()
            return done
