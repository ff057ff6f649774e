"""Server streams fed by the bus: bounded in number and in memory, each event encoded once, slow readers told so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import trio
from google.protobuf.message import Message

from optimizer.bus import Overflow, Subscription, Topic
from optimizer.grpc_api.calls.framing import Frame, encode_frame
from optimizer.grpc_api.handling import Call
from optimizer.grpc_api.streams.memo import Memo
from optimizer.model import ResourceExhausted, Unavailable

T = TypeVar("T")

BATCH = 64  # events that leave together when a reader is behind
ENCODED = 1_024  # newest events whose encoding is remembered: a reader further behind has it made again


class Subscriptions:
    """The open subscriptions of this front door. `close` ends them, so that a drain need not wait for them."""

    def __init__(self, *, most: int, buffer: int) -> None:
        self._most = most
        self._buffer = buffer
        self._open: set[trio.CancelScope] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """End every subscription with UNAVAILABLE, now and from now on."""
        self._closed = True
        for scope in self._open:
            scope.cancel()

    @contextmanager
    def admit(self) -> Iterator[None]:
        """The block is a subscription. Raises ResourceExhausted above the bound, Unavailable once closed."""
        if len(self._open) >= self._most:
            raise ResourceExhausted(f"there are {self._most} subscriptions already", retry_after_s=10)
        scope = trio.CancelScope()
        self._open.add(scope)
        try:
            with scope:
                if self._closed:
                    scope.cancel()
                yield
        finally:
            self._open.discard(scope)
        if scope.cancelled_caught or self._closed:
            raise Unavailable("the server is stopping", retry_after_s=1)

    @contextmanager
    def follow(self, topic: Topic[T]) -> Iterator[Subscription[T]]:
        """Subscribe to a topic for the block, as an admitted subscription."""
        with self.admit(), topic.subscribe(self._buffer, Overflow.DISCONNECT) as subscription:
            yield subscription


class Feed(Generic[T]):
    """One kind of event and its encoding, shared by all its subscribers."""

    def __init__(self, subscriptions: Subscriptions, topic: Topic[T], encode: Callable[[T], Message]) -> None:
        self._subscriptions = subscriptions
        self._topic = topic
        self._frame: Memo[T, Frame] = Memo(lambda event: encode_frame(encode(event)), ENCODED)

    async def serve(self, call: Call[Any, Any], wanted: Callable[[T], bool]) -> None:
        """Send every wanted event from now on, until the client leaves.

        Raises ResourceExhausted when the client read too slowly and missed events, Unavailable when the server stops.
        """
        with self._subscriptions.follow(self._topic) as subscription:
            await call_accepted(call)
            while events := await next_burst(subscription):
                frames = [self._frame(event) for event in events if wanted(event)]
                if frames:
                    await call.send_message(frames[0] if len(frames) == 1 else Frame(b"".join(frames)))
        raise ResourceExhausted("events were lost: this client reads too slowly", retry_after_s=1)

    async def serve_newest(
        self, call: Call[Any, Any], wanted: Callable[[T], bool], key: Callable[[T], object], interval_s: float
    ) -> None:
        """Send the newest wanted event of each key once per interval, if there was one."""
        with self._subscriptions.follow(self._topic) as subscription:
            await call_accepted(call)
            newest: dict[object, T] = {}
            due = trio.current_time() + interval_s
            while True:
                with trio.move_on_at(due) as scope:
                    while events := await next_burst(subscription):
                        newest.update((key(event), event) for event in events if wanted(event))
                if not scope.cancelled_caught:
                    break  # disconnected, or the topic is closed
                due += interval_s
                if newest:
                    await call.send_message(Frame(b"".join(self._frame(event) for event in newest.values())))
                    newest.clear()
        raise ResourceExhausted("events were lost: this client reads too slowly", retry_after_s=1)


async def next_burst(subscription: Subscription[T]) -> list[T]:
    """What waits in the buffer, up to `BATCH` events; waits when there is nothing. Empty at the end."""
    try:
        found = [await subscription.receive()]
    except trio.EndOfChannel:
        return []
    while len(found) < BATCH and subscription.depth():
        found.append(subscription.receive_nowait())
    return found


async def call_accepted(call: Call[Any, Any]) -> None:
    """Send the response's head, so that the client knows that it is subscribed: what happens next, it will see."""
    send = getattr(call, "send_initial_metadata", None)
    if send is not None:
        await send()
