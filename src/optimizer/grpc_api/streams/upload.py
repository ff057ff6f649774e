"""A stream of feedback on its way into the log: reading and appending overlap; what was read leaves in one append."""

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import trio

from optimizer.collector import Intake, Receipt
from optimizer.grpc_api.convert.feedback import from_feedback
from optimizer.grpc_api.pb import feedback_pb2 as pb
from optimizer.model import InvalidArgument, ResourceExhausted

WAITING = 2_000  # events read ahead of the log: about two appends; beyond it the client is held by flow control
PATIENCE_S = 5.0  # how long a busy intake is waited for before the stream fails
PAUSE_S = 0.02


@dataclass(slots=True)
class Waiting:
    """Items read and not yet appended, and the number of the last message among them."""

    items: list[dict[str, object]]
    messages: int


class Upload:
    """One stream. `limit` bounds the events of one message and of one append."""

    def __init__(self, intake: Callable[[], Intake], now: Callable[[], datetime], limit: int) -> None:
        self._intake = intake
        self._now = now
        self._limit = limit
        self._waiting = Waiting([], 0)
        self._ended = False
        self._error: Exception | None = None
        self._changed = trio.Event()
        self._totals = pb.FeedbackProgress()
        self._read = 0

    async def run(
        self,
        messages: AsyncIterable[pb.RecordFeedbackRequest],
        tell: Callable[[pb.FeedbackProgress], Awaitable[None]],
    ) -> pb.FeedbackProgress:
        """Append everything; after each append `tell` how far it is durable. The final totals.

        When reading fails (a message is too large, the client is gone), what was read before is appended first, then
        that error is raised. What the intake raises ends it at once; what was told before is durable all the same.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_all, messages)
            try:
                while (batch := await self._next()) is not None:
                    await self._append(batch, tell)
            except Exception as error:  # noqa: BLE001 - raised again outside the nursery, not wrapped in a group
                self._error = error
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error
        return self._totals

    async def _read_all(self, messages: AsyncIterable[pb.RecordFeedbackRequest]) -> None:
        try:
            async for message in messages:
                if len(message.events) > self._limit:
                    raise InvalidArgument(f"{len(message.events)} events in one message; at most {self._limit}")
                while len(self._waiting.items) >= WAITING:
                    await self._changed.wait()
                now = self._now()
                self._waiting.items += [from_feedback(event, now) for event in message.events]
                self._waiting.messages += 1
                self._notify()
        except Exception as error:  # noqa: BLE001 - raised by `run` once what came before is durable
            self._error = error
        self._ended = True
        self._notify()

    async def _next(self) -> Waiting | None:
        while not self._waiting.messages:
            if self._ended:
                return None
            await self._changed.wait()
        batch, self._waiting = self._waiting, Waiting([], 0)
        self._notify()
        return batch

    async def _append(self, batch: Waiting, tell: Callable[[pb.FeedbackProgress], Awaitable[None]]) -> None:
        rejected: list[pb.Rejection] = []
        for start in range(0, len(batch.items), self._limit):
            items = batch.items[start : start + self._limit]
            receipt = await self._take(items)
            rejected += [
                pb.Rejection(index=self._read + r.index, field=r.field or "", error=r.error) for r in receipt.rejected
            ]
            self._read += len(items)
            self._totals.accepted += receipt.accepted
            self._totals.duplicates += receipt.duplicates
        self._totals.durable_messages += batch.messages
        self._totals.rejected_total += len(rejected)
        progress = pb.FeedbackProgress(rejected=rejected)
        progress.MergeFrom(self._totals)
        await tell(progress)

    async def _take(self, items: list[dict[str, object]]) -> Receipt:
        """Append, waiting for a busy intake: a stream is slowed down where a single call is refused."""
        give_up = trio.current_time() + PATIENCE_S
        while True:
            try:
                return await self._intake().feedback(items)
            except ResourceExhausted:
                if trio.current_time() >= give_up:
                    raise
                await trio.sleep(PAUSE_S)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
