"""What httpunk needs of an asynchronous runtime, on Trio.

httpunk 0.4.5 is written against a small object: event, queue, lock, spawn, shutdown. The seam is not public API, so its
version is pinned exactly; a later release announces Trio support, and then this module goes.
"""

import collections
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled


class EngineFault(RuntimeError):
    """The engine itself failed (a panic of its native part); the connection cannot go on."""


class Event:
    """A flag with waiters; `notify`, when given, is called once at the first `set`."""

    # Class attributes instead of __init__: every request makes three events, and most are never touched.
    _flag = False
    _waiters: dict[trio.lowlevel.Task, None] | None = None
    notify: Callable[[], object] | None = None

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        if self._flag:
            return
        self._flag = True
        if self.notify is not None:
            self.notify()
        if self._waiters:
            waiters, self._waiters = self._waiters, None
            for task in waiters:
                reschedule(task)

    def clear(self) -> None:
        self._flag = False

    async def wait(self) -> bool:
        if self._flag:
            return True
        task = current_task()
        if self._waiters is None:
            self._waiters = {}
        self._waiters[task] = None

        def abort(_: object) -> Abort:
            if self._waiters is not None:
                self._waiters.pop(task, None)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        return True


class Queue:
    """Unbounded for its one receiver: what fills it is bounded by flow control."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: collections.deque[Any] = collections.deque()
        self._waiter: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._items)

    def send(self, item: object) -> None:
        self._items.append(item)
        if self._waiter is not None:
            task, self._waiter = self._waiter, None
            reschedule(task)

    def take(self) -> Any:
        """The next item, which must exist."""
        return self._items.popleft()

    def is_whole(self) -> bool:
        """True when exactly one item and the end mark wait."""
        items = self._items
        return len(items) == 2 and items[1] is None

    def take_end(self) -> bool:
        """True when the next item is the end mark, which is taken; else nothing changes."""
        if self._items and self._items[0] is None:
            self._items.popleft()
            return True
        return False

    async def receive(self) -> Any:
        while not self._items:
            self._waiter = current_task()

            def abort(_: object) -> Abort:
                self._waiter = None
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        return self._items.popleft()


class _Joined:
    """Awaitable end of a spawned task."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = Event()

    def __await__(self) -> Generator[Any, None, bool]:
        return self.ended.wait().__await__()


class TrioRuntime:
    """What httpunk's HTTP/2 driver asks of a runtime; its tasks live in the connection's nursery."""

    event = Event
    lock = trio.Lock

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def queue(self) -> tuple[Queue, Queue]:
        both = Queue()
        return both, both

    def spawn_without_results(self, coroutine: Coroutine[Any, Any, object]) -> Awaitable[bool]:
        joined = _Joined()
        self._nursery.start_soon(self._run, coroutine, joined)
        return joined

    async def _run(self, coroutine: Coroutine[Any, Any, object], joined: _Joined) -> None:
        try:
            await coroutine
        except BaseException as error:
            # A panic of the native part is a BaseException that nothing above would contain.
            if type(error).__name__ != "PanicException":
                raise
            raise EngineFault(str(error)) from error
        finally:
            joined.ended.set()

    async def shutdown_transport(self, transport: trio.abc.AsyncResource) -> None:
        await transport.aclose()
