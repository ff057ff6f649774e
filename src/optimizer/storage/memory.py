"""The store in memory: the reference that every other backend is compared with, and the simulator's durable state."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import trio

from optimizer.model import Conflict
from optimizer.storage.limits import READ_BYTES, check_changes, check_records, encode_name
from optimizer.storage.protocols import (
    ANY_VERSION,
    Appended,
    Cursor,
    Delete,
    Document,
    Entry,
    Put,
    Record,
    StoreHealth,
)

Moment = Literal["before_append", "after_append", "before_commit", "after_commit"]
FaultHook = Callable[[Moment], Awaitable[None]]


@dataclass(slots=True)
class MemoryState:
    """What survives a simulated crash: hand the same value to the next `open_memory`."""

    entries: list[Entry] = field(default_factory=list)
    dedup: set[bytes] = field(default_factory=set)
    documents: dict[bytes, Document] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def open_memory(
    state: MemoryState | None = None, *, faults: FaultHook | None = None
) -> AsyncIterator["MemoryStore"]:
    """A store over `state` (a new, empty one when None). Offsets have no gaps.

    `faults` is awaited around every write. Raising at `before_...` loses the call, raising or being cancelled at
    `after_...` loses only its answer: the two halves of "unknown outcome".
    """
    yield MemoryStore(MemoryState() if state is None else state, faults)


class MemoryStore:
    """Every call has a checkpoint before its effect and none between the effect and its answer (faults aside)."""

    def __init__(self, state: MemoryState, faults: FaultHook | None) -> None:
        self._state = state
        self._faults = faults
        self._grown = trio.Event()

    async def append(self, records: Sequence[Record]) -> Appended:
        """See `Log.append`."""
        check_records(records)
        await self._pass("before_append")
        state = self._state
        offsets: list[int | None] = []
        for record in records:
            if record.dedup is not None:
                if record.dedup in state.dedup:
                    offsets.append(None)
                    continue
                state.dedup.add(record.dedup)
            offset = len(state.entries) + 1
            state.entries.append(Entry(offset, record.kind, record.key, bytes(record.payload)))
            offsets.append(offset)
        self._grown.set()
        self._grown = trio.Event()
        if self._faults is not None:
            await self._faults("after_append")
        return Appended(tuple(offsets))

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """See `Log.read`."""
        await trio.lowlevel.checkpoint()
        found: list[Entry] = []
        size = 0
        start = max(after, 0)
        for entry in self._state.entries[start : start + max(limit, 0)]:
            size += len(entry.payload)
            if found and size > READ_BYTES:
                break
            found.append(entry)
        return found

    async def end(self) -> int:
        """See `Log.end`."""
        await trio.lowlevel.checkpoint()
        return len(self._state.entries)

    async def wait_beyond(self, offset: int) -> None:
        """See `Log.wait_beyond`."""
        await trio.lowlevel.checkpoint()
        while len(self._state.entries) <= offset:
            await self._grown.wait()

    async def get(self, key: str) -> Document | None:
        """See `Documents.get`."""
        await trio.lowlevel.checkpoint()
        return self._state.documents.get(encode_name(key))

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """See `Documents.scan`."""
        await trio.lowlevel.checkpoint()
        keys, start = self._state.keys, encode_name(prefix)
        first = max(bisect_left(keys, start), bisect_right(keys, encode_name(after)) if after else 0)
        found: list[Document] = []
        for i in range(first, len(keys)):
            if len(found) >= limit or not keys[i].startswith(start):
                break
            found.append(self._state.documents[keys[i]])
        return found

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """See `Documents.commit`."""
        check_changes(changes, cursor)
        await self._pass("before_commit")
        after: dict[bytes, Document | None] = {}
        versions = tuple(self._plan(change, after) for change in changes)
        for key, document in after.items():
            self._store(key, document)
        if cursor is not None:
            self._state.cursors[cursor.name] = cursor.offset
        if self._faults is not None:
            await self._faults("after_commit")
        return versions

    async def cursor(self, name: str) -> int:
        """See `Documents.cursor`."""
        await trio.lowlevel.checkpoint()
        return self._state.cursors.get(name, 0)

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        await trio.lowlevel.checkpoint()
        details = {"entries": str(len(self._state.entries)), "documents": str(len(self._state.documents))}
        return StoreHealth(mode="memory", writable=True, details=details)

    async def _pass(self, moment: Moment) -> None:
        await trio.lowlevel.checkpoint()
        if self._faults is not None:
            await self._faults(moment)

    def _plan(self, change: Put | Delete, after: dict[bytes, Document | None]) -> int:
        key = change.key.encode()
        current = after[key] if key in after else self._state.documents.get(key)
        version = 0 if current is None else current.version
        if change.expected not in (ANY_VERSION, version):
            raise Conflict(f"document {change.key!r} has version {version}, not {change.expected}")
        if isinstance(change, Delete):
            after[key] = None
            return 0
        after[key] = Document(change.key, version + 1, bytes(change.body))
        return version + 1

    def _store(self, key: bytes, document: Document | None) -> None:
        state = self._state
        if document is None:
            if state.documents.pop(key, None) is not None:
                del state.keys[bisect_left(state.keys, key)]
            return
        if key not in state.documents:
            insort(state.keys, key)
        state.documents[key] = document
