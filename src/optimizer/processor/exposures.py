"""Writes handed-out choices to the log in batches, behind the answers."""

import structlog
import trio

from optimizer.core import records
from optimizer.core.records import Exposure, Exposures
from optimizer.model import StorageUnavailable
from optimizer.storage import Log, Record

PENDING = 10_000  # about 3 MB, and ten seconds of a busy service while storage is away
BATCH = 500  # one log record stays below 200 KB
GATHER_S = 0.05  # waiting this long turns many small appends into one
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class ExposureLog:
    """Takes choices from the inbox and appends them; what is not yet durable is in `held` or in the inbox.

    A batch becomes its records once and keeps their idempotency keys, so that a batch whose append was cut off half-way
    can be appended again without counting twice.
    """

    def __init__(self, inbox: trio.MemoryReceiveChannel[tuple[str, Exposure]], store: Log) -> None:
        self._inbox = inbox
        self._store = store
        self._gathered: list[tuple[str, Exposure]] = []
        self._held: list[Record] = []

    async def run(self) -> None:
        """Append until the inbox is closed and empty; storage that is away is waited for while the inbox fills."""
        async for first in self._inbox:
            self._gathered.append(first)
            with trio.move_on_after(GATHER_S):
                while len(self._gathered) < BATCH:
                    self._gathered.append(await self._inbox.receive())
            await self._append()

    async def finish(self) -> None:
        """Append what is left, however long storage is away: the caller bounds it."""
        await self._append()
        try:
            while True:
                self._gathered.append(self._inbox.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            await self._append()

    async def _append(self) -> None:
        self._held += make_records(self._gathered)
        self._gathered.clear()
        while self._held:
            try:
                await self._store.append(self._held)
            except StorageUnavailable as error:
                log.warning("exposures wait for storage", error=str(error))
                await trio.sleep(RETRY_S)
            else:
                self._held.clear()


def make_records(batch: list[tuple[str, Exposure]]) -> list[Record]:
    """One record for each service of the batch."""
    by_service: dict[str, list[Exposure]] = {}
    for name, exposure in batch:
        by_service.setdefault(name, []).append(exposure)
    return [
        Record(
            kind=records.EXPOSURES,
            key=name,
            payload=records.encode(Exposures(name, tuple(items))),
            dedup=records.idempotency_key(records.EXPOSURES, name, items[0].assignment_id),
        )
        for name, items in by_service.items()
    ]
