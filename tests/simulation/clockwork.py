"""Determinism: virtual time, a seeded scheduler, and a hash over every step of every task.

The scheduler's two hooks are private names of Trio (`trio._core._run._r` and `_ALLOW_DETERMINISTIC_SCHEDULING`);
`test_hooks.py` fails when a new Trio changes them.
"""

import gc
import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio._core._run as scheduler
import trio.testing

T = TypeVar("T")


class Tracer(trio.abc.Instrument):
    """Hashes the order in which tasks run, and calls whoever asked for a certain step."""

    def __init__(self) -> None:
        self.steps = 0
        self.outside = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if task.name == "<TrioToken.run_sync_soon task>":
            self.outside += 1  # woken from outside the loop; beginning and end of the run wake it too
        self._hash.update(task.name.encode())
        while self._due and self._due[0][0] <= self.steps:
            self._due.pop(0)[2]()

    def at_step(self, step: int, action: Callable[[], None]) -> None:
        """Have an action happen just before that step, wherever the tasks are then."""
        self._due.append((step, len(self._due), action))
        self._due.sort(key=lambda due: due[:2])

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for a step."""
        return bool(self._due)

    def forget(self) -> None:
        """Nobody waits for a step any more."""
        self._due.clear()

    def note(self, text: str) -> None:
        """Make a line of text part of the trace."""
        self._hash.update(text.encode())
        self._hash.update(b"\n")

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()


def run_seeded(main: Callable[[Tracer], Awaitable[T]], seed: int) -> tuple[T, Tracer]:
    """Run in virtual time with the scheduler seeded; everything random has to come from the seed as well."""
    tracer = Tracer()
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    state = scheduler._r.getstate()
    # A collection in the middle of a run would finalise things at a moment that depends on what ran before.
    gc.disable()
    _allow_determinism(True)
    scheduler._r.seed(seed)
    try:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(main, tracer, clock=clock, instruments=[tracer]), tracer
    finally:
        _allow_determinism(before)
        scheduler._r.setstate(state)
        gc.enable()


def _allow_determinism(allow: bool) -> None:
    vars(scheduler)["_ALLOW_DETERMINISTIC_SCHEDULING"] = allow


def branch(seed: int, name: str) -> random.Random:
    """An independent random generator for one use, so that one use drawing more does not shift the others."""
    return random.Random(f"{seed}/{name}")
