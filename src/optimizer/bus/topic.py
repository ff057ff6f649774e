"""A topic: what is published reaches every subscriber, each through a buffer of its own with a named overflow rule."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Overflow(Enum):
    """What happens when a subscriber's buffer is full."""

    BLOCK = "block"  # the publisher waits: for subscribers that must see everything
    DROP = "drop"  # this item is not delivered to that subscriber, and counted
    DISCONNECT = "disconnect"  # the subscription ends after what is buffered


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStatistics:
    """Counts since the topic was made, and the state now. `deepest` is the fullest buffer among the subscribers."""

    published: int
    dropped: int
    disconnected: int
    subscribers: int
    deepest: int
    closed: bool


class Subscription(Generic[T]):
    """The receiving side: iterate over it. It ends when the topic was closed (drained) or the reader was too slow."""

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        self.overflow = overflow
        self.dropped = 0
        self.disconnected = False
        self._send, self._receive = trio.open_memory_channel[T](buffer)

    async def receive(self) -> T:
        """The next item; `trio.EndOfChannel` when there is none left and none will come."""
        return await self._receive.receive()

    def receive_nowait(self) -> T:
        """The next item; `trio.WouldBlock` when the buffer is empty."""
        return self._receive.receive_nowait()

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> T:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def depth(self) -> int:
        """How many items wait in the buffer."""
        return self._receive.statistics().current_buffer_used

    def has_room(self) -> bool:
        """Whether an item could be delivered now without waiting."""
        now = self._receive.statistics()
        taken = now.current_buffer_used + now.tasks_waiting_send
        return now.tasks_waiting_receive > 0 or taken < now.max_buffer_size or now.open_send_channels == 0

    def offer(self, item: T) -> bool:
        """Deliver without waiting; false when a BLOCK subscriber's buffer is full and the publisher has to wait."""
        try:
            self._send.send_nowait(item)
        except trio.WouldBlock:
            if self.overflow is Overflow.BLOCK:
                return False
            if self.overflow is Overflow.DROP:
                self.dropped += 1
            else:
                self.disconnected = True
                self._send.close()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the reader left, or was disconnected; its `subscribe` block takes it off the list
        return True

    async def deliver(self, item: T) -> None:
        """Deliver, waiting for room."""
        # Suppressed: the reader left while the publisher waited for it.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send.send(item)

    def end(self) -> None:
        """No more items: the reader gets what is buffered, then the end."""
        self._send.close()

    def leave(self) -> None:
        """The reader is gone: a publisher waiting for it goes on."""
        self._receive.close()
        self._send.close()


class Topic(Generic[T]):
    """Publish to many. A slow reader harms only itself, unless it asked for BLOCK.

    Ordering: every subscriber sees the items of one publisher in the order published.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._subscriptions: list[Subscription[T]] = []
        self._published = 0
        self._dropped = 0
        self._disconnected = 0
        self._closed = False

    async def publish(self, item: T) -> None:
        """Deliver to all present subscribers; returns when every one of them has it or lost it by its own rule.

        Cancellation: only BLOCK subscribers that are full can miss the item of a cancelled call.
        Raises `trio.ClosedResourceError` after `close`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting = self._offer(item)
        if not waiting:
            await trio.lowlevel.cancel_shielded_checkpoint()
        for subscription in waiting:
            await subscription.deliver(item)

    def publish_nowait(self, item: T) -> None:
        """Deliver without waiting; raises `trio.WouldBlock`, with nothing delivered, if a BLOCK subscriber is full."""
        if any(s.overflow is Overflow.BLOCK and not s.has_room() for s in self._subscriptions):
            raise trio.WouldBlock
        self._offer(item)

    @contextmanager
    def subscribe(self, buffer: int, overflow: Overflow) -> Iterator[Subscription[T]]:
        """Receive what is published from now on until the block is left. On a closed topic it ends at once."""
        subscription = Subscription[T](buffer, overflow)
        self._subscriptions.append(subscription)
        if self._closed:
            subscription.end()
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self._dropped += subscription.dropped
            self._disconnected += subscription.disconnected
            subscription.leave()

    def close(self) -> None:
        """The publisher is done: every subscriber reads what is buffered and then sees the end."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()

    def statistics(self) -> TopicStatistics:
        """Numbers for metrics."""
        return TopicStatistics(
            published=self._published,
            dropped=self._dropped + sum(s.dropped for s in self._subscriptions),
            disconnected=self._disconnected + sum(s.disconnected for s in self._subscriptions),
            subscribers=len(self._subscriptions),
            deepest=max((s.depth() for s in self._subscriptions), default=0),
            closed=self._closed,
        )

    def _offer(self, item: T) -> list[Subscription[T]]:
        """Deliver wherever there is room; the BLOCK subscribers that have none."""
        if self._closed:
            raise trio.ClosedResourceError(f"topic {self.name} is closed")
        self._published += 1
        return [subscription for subscription in self._subscriptions if not subscription.offer(item)]
