"""The last resort, outside Trio: threads that end the process when the stop takes too long or the loop stands still."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Self

import trio

HARD_LIMIT_EXIT = 70  # EX_SOFTWARE of sysexits.h


def describe_task(task: trio.lowlevel.Task, *, depth: int = 0) -> str:
    """The name and stack of a task and of everything below it, children in the order they were started."""
    pad = "  " * depth
    lines = [f"{pad}task {task.name}"]
    lines += [f"{pad}  {frame.filename}:{frame.lineno} in {frame.name}" for frame in _frames_of(task)]
    for nursery in task.child_nurseries:
        # A set of tasks has no order of its own: sorted by name so that two runs of one seed tell the same.
        lines += [describe_task(child, depth=depth + 1) for child in sorted(nursery.child_tasks, key=lambda t: t.name)]
    return "\n".join(lines)


def describe_threads() -> str:
    """The stack of every thread of the process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sorted(sys._current_frames().items()):  # noqa: SLF001 - the documented way to see other threads
        parts.append(f"thread {names.get(ident, ident)}\n" + "".join(traceback.format_stack(frame)).rstrip())
    return "\n".join(parts)


def _exit(report: str) -> None:
    """Say what is still alive and end the process without any clean-up; blocking output cannot hold it back."""
    os.set_blocking(2, False)
    try:
        os.write(2, report.encode(errors="replace"))
    except OSError:
        pass  # nobody reads: the exit code still tells
    finally:
        os._exit(HARD_LIMIT_EXIT)


class Watchdog:
    """Ends the process `limit_s` seconds after `arm`, and when the loop did not `beat` for `stall_s` seconds.

    Used as a context manager around `trio.run`, so that it also covers the end of it (worker threads, finalisers).
    Once armed it stays armed to the end of the process; never armed, it is gone with the block.
    """

    def __init__(self, *, limit_s: float = 30.0, stall_s: float = 30.0, end: Callable[[str], None] = _exit) -> None:
        self._limit_s = limit_s
        self._stall_s = stall_s
        self._end = end
        self._armed = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._root: trio.lowlevel.Task | None = None
        self._beats = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch_stop, name="watchdog-stop", daemon=True).start()
        threading.Thread(target=self._watch_stall, name="watchdog-stall", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root = None
        self._closed.set()
        self._wake.set()

    def arm(self) -> None:
        """Start the countdown; later calls change nothing."""
        self._armed = True
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat every second, so that a loop that stands still is noticed. Runs until cancelled."""
        self._root = trio.lowlevel.current_root_task()
        task_status.started()
        while True:
            self._beats += 1
            await trio.sleep(1.0)

    def report(self, cause: str) -> str:
        """What is still alive. Called from another thread: the loop may be moving under it, so it is a best effort."""
        root = self._root
        tasks = "" if root is None else f"{describe_task(root)}\n"
        return f"watchdog: {cause}\n{tasks}{describe_threads()}\n"

    def _watch_stop(self) -> None:
        self._wake.wait()
        if self._armed:
            time.sleep(self._limit_s)
            self._end(self.report(f"the process did not stop within {self._limit_s:g} s"))

    def _watch_stall(self) -> None:
        # Counted in own ticks, not in clock time: a process that was suspended as a whole is not a stalled loop.
        seen, quiet = self._beats, 0
        while not self._closed.wait(1.0):
            quiet = quiet + 1 if seen == self._beats and seen > 0 else 0
            seen = self._beats
            if quiet >= self._stall_s:
                self._end(self.report(f"the loop stood still for {self._stall_s:g} s"))
                return


def _frames_of(task: trio.lowlevel.Task) -> Iterator[traceback.FrameSummary]:
    frames: Iterator[tuple[FrameType, int]] = task.iter_await_frames()
    return iter(traceback.StackSummary.extract(frames))
