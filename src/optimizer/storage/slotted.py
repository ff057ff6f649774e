"""The store as others see it: whatever the storage service provides at that moment, so that it can restart alone."""

from collections.abc import Sequence

from optimizer.bus import Slot
from optimizer.model import StorageUnavailable
from optimizer.storage.protocols import Appended, Cursor, Delete, Document, Entry, Put, Record, Store, StoreHealth


class SlottedStore:
    """A `Store` that passes every call to the one in the slot; `StorageUnavailable` while there is none."""

    def __init__(self, slot: Slot[Store]) -> None:
        self._slot = slot

    def _store(self) -> Store:
        store = self._slot.peek()
        if store is None:
            raise StorageUnavailable("storage is restarting")
        return store

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`."""
        return await self._store().append(records)

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """See `Log.read`."""
        return await self._store().read(after, limit)

    async def end(self) -> int:
        """See `Log.end`."""
        return await self._store().end()

    async def wait_beyond(self, offset: int) -> None:
        """See `Log.wait_beyond`. A store that goes away meanwhile may never answer: callers bound the wait."""
        await self._store().wait_beyond(offset)

    async def get(self, key: str) -> Document | None:
        """See `Documents.get`."""
        return await self._store().get(key)

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """See `Documents.scan`."""
        return await self._store().scan(prefix, after=after, limit=limit)

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """See `Documents.commit`."""
        return await self._store().commit(changes, cursor)

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        return await self._store().cursor(name)

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        return await self._store().health()
