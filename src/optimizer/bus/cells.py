"""Two cells: `Latest` holds the newest value of something, `Slot` what a service provides while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

from optimizer.model import Unavailable

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value. Readers see whole values only; whoever waits sees the newest, and may miss ones between."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed = trio.Event()

    @property
    def version(self) -> int:
        """How often the value was set."""
        return self._version

    def get(self) -> T:
        """The value now."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake everybody who waits."""
        self._value = value
        self._version += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_beyond(self, version: int) -> tuple[T, int]:
        """The value and its version, as soon as it is newer than `version`.

        `value, seen = await cell.wait_beyond(seen)` in a loop sees every last state.
        """
        while self._version <= version:
            await self._changed.wait()
        return self._value, self._version


class Slot(Generic[T]):
    """What the service `name` provides to others while it runs.

    The others hold the slot, not the value, so that the service can restart alone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: list[T] = []
        self._filled = trio.Event()

    @contextmanager
    def provide(self, value: T) -> Iterator[T]:
        """Provide the value while the block runs. Raises RuntimeError if somebody else provides one already."""
        if self._values:
            raise RuntimeError(f"{self.name} is provided already")
        self._values.append(value)
        self._filled.set()
        try:
            yield value
        finally:
            self._values.clear()
            self._filled = trio.Event()

    def get(self) -> T:
        """The value; raises `Unavailable` naming the service when it is down."""
        if not self._values:
            raise Unavailable(f"{self.name} is not available now")
        return self._values[0]

    def peek(self) -> T | None:
        """The value, or None when the service is down."""
        return self._values[0] if self._values else None

    async def ready(self) -> T:
        """The value, as soon as there is one."""
        while not self._values:
            await self._filled.wait()
        return self._values[0]
