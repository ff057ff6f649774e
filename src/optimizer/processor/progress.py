"""How far the fold has come, and waiting for it: what makes a write visible to whoever made it."""

from collections.abc import Callable

from optimizer.bus import Latest


class Progress(Latest[int]):
    """The offset of the last folded record: everything up to it is in the state."""

    async def until(self, done: Callable[[], bool]) -> None:
        """Return as soon as `done` holds; it is looked at after every step of the fold."""
        seen = self.version
        while not done():
            _, seen = await self.wait_beyond(seen)

    async def reach(self, offset: int | None) -> None:
        """Return when the record at the offset is folded."""
        if offset is None:
            raise AssertionError("a record without idempotency key cannot be a duplicate")
        await self.until(lambda: self.get() >= offset)
