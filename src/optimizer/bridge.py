"""The one crossing to asyncio: a whole operation at a time runs as one asyncio task on a loop inside the tree.

asyncpg, aiokafka and redis live behind it. What crosses back is a result, an exception of the library, or
`Unavailable`; `asyncio.CancelledError` never does. All asyncio work of a bridge shares one Trio task, so a room opens
a bridge of its own: when its loop dies, that room is restarted and no other.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog
import trio
import trio_asyncio

from optimizer.model import Unavailable, sole_error

CANCEL_S = 5.0
"""Seconds that a cancelled operation may take to end. asyncio cancellation is a request, and some code refuses it."""

CLOSE_S = 5.0
"""Seconds for a resource's exit, and for the tasks that a library left behind when the bridge closes."""

_AGAIN_S = 0.2  # seconds between repeated requests to end

log = structlog.stdlib.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Bridge:
    """Runs asyncio functions for Trio tasks; made by `open_bridge`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False
        self.failures = 0
        """Errors that reached the loop itself: background tasks of a library that nobody awaits."""

    async def run(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an asyncio function, with all that it awaits, in one crossing (about 60 us).

        Cancellation: asks the operation to end and waits at most `CANCEL_S`; then its outcome is unknown.
        Raises: what the function raises; Unavailable when it was cancelled from the asyncio side.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise trio.ClosedResourceError("the bridge is closed")
        task = self._loop.create_task(_call(function, *args, **kwargs))
        done = trio.Event()
        task.add_done_callback(partial(_tell, done))
        try:
            await done.wait()
        except trio.Cancelled:
            with trio.move_on_after(CANCEL_S, shield=True):
                await _end([task])
            _note_cancelled(task)
            raise
        if task.cancelled():
            raise Unavailable("the operation was cancelled by the library that ran it")
        return task.result()

    @asynccontextmanager
    async def opened(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
        """Enter an asyncio context manager here and leave it here, shielded for at most `CLOSE_S`.

        `make` is called on the asyncio side: some libraries need a running loop to build their objects. An error of
        the exit is logged and does not replace what the body did.
        """

        async def enter() -> tuple[AbstractAsyncContextManager[T], T]:
            manager = make()
            return manager, await manager.__aenter__()

        manager, value = await self.run(enter)
        try:
            yield value
        finally:
            with trio.move_on_after(CLOSE_S, shield=True) as scope:
                try:
                    await self.run(manager.__aexit__, None, None, None)
                except Exception as e:  # noqa: BLE001 - a library's clean-up; the body's outcome matters more
                    log.warning("bridge_exit_failed", resource=repr(value), error=repr(e))
            if scope.cancelled_caught:
                log.error("bridge_exit_timeout", resource=repr(value), seconds=CLOSE_S)

    def handle_failure(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler: log and count. trio-asyncio's own would end the process."""
        self.failures += 1
        error = context.get("exception")
        log.error("asyncio_background_failure", message=context.get("message"), error=repr(error), exc_info=error)

    async def close(self) -> None:
        """End every task that is still there; what does not end is named and left behind."""
        self._closed = True
        with trio.move_on_after(CLOSE_S, shield=True):
            await _end(asyncio.all_tasks(self._loop))
        for task in asyncio.all_tasks(self._loop):
            log.error("bridge_task_left", task=task.get_name(), coroutine=repr(task.get_coro()))
            asyncio._unregister_task(task)  # noqa: SLF001 - documented for extensions; the loop waits no longer


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """An asyncio loop inside the current nursery tree; nothing on it outlives the block by more than `CLOSE_S`."""
    failed: BaseException | None = None
    try:
        async with trio_asyncio.open_loop() as loop:
            bridge = Bridge(loop)
            loop.set_exception_handler(bridge.handle_failure)
            try:
                yield bridge
            except BaseException as e:
                failed = e
                raise
            finally:
                await bridge.close()
    except BaseExceptionGroup as group:
        if failed is not None and sole_error(group) is failed:
            raise failed from failed.__cause__  # the body's error leaves as itself
        raise


async def _call(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    return await function(*args, **kwargs)


async def _end(tasks: "list[asyncio.Task[Any]] | set[asyncio.Task[Any]]") -> None:
    """Ask the tasks to end, again and again: one that swallowed the first request may hear the next."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        done = trio.Event()
        for task in left:
            task.add_done_callback(partial(_tell, done))
        with trio.move_on_after(_AGAIN_S):
            await done.wait()
        left = {task for task in left if not task.done()}


def _tell(done: trio.Event, _task: "asyncio.Task[Any]") -> None:
    done.set()


def _note_cancelled(task: "asyncio.Task[Any]") -> None:
    """A cancelled caller cannot be told what became of its operation; the log can."""
    if not task.done():
        log.error("bridge_cancel_timeout", coroutine=repr(task.get_coro()), seconds=CANCEL_S)
    elif not task.cancelled() and task.exception() is not None:
        log.info("bridge_cancelled_with_error", error=repr(task.exception()))
