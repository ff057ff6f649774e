"""The two storage protocols: an append-only log and versioned documents. One contract suite proves every backend.

Promises common to all backends:
* What `append` or `commit` returned for survives `kill -9` of this process at any later instant (except in memory).
* A record whose `dedup` key was ever appended before is skipped, for ever and across restarts.
* `commit` is all or nothing, the cursor included.
* A cancelled call has an unknown outcome: whole or not at all. Repeating it with the same dedup keys is safe.

* A call that raised `StorageUnavailable` acknowledged nothing; like a cancelled one it happened whole or not at all.

Errors: `StorageUnavailable` when the store cannot write or read now, `Conflict` when a document's version is not the
expected one, `InvalidArgument` for what `storage/limits.py` does not allow, `StoreLocked` when opening, `StoreCorrupt`
when opening or reading what contradicts itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ANY_VERSION = -1
ABSENT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing to append. `key` groups records whose order matters (a service); `dedup` makes it idempotent."""

    kind: str
    key: str
    payload: bytes
    dedup: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as read from the log. Offsets start at 1 and rise; they may have gaps."""

    offset: int
    kind: str
    key: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """One offset for each record, None for a duplicate, in the order of the batch."""

    offsets: tuple[int | None, ...]

    @property
    def duplicates(self) -> int:
        """How many records of the batch the log already had."""
        return sum(offset is None for offset in self.offsets)


@dataclass(frozen=True, slots=True)
class Document:
    """A stored value with its version: 1 when created, one more at each change."""

    key: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a document if its version is `expected` (`ANY_VERSION`: whatever it is; `ABSENT`: it must not exist)."""

    key: str
    body: bytes
    expected: int = ANY_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a document if its version is `expected`; removing an absent one with `ANY_VERSION` is fine."""

    key: str
    expected: int = ANY_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A consumer's place: everything up to and including `offset` is reflected in what is committed with it."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """Whether the store can write now, and numbers worth showing (sizes, queue lengths, last error)."""

    mode: Literal["memory", "embedded", "postgres", "spooling"]
    writable: bool
    message: str | None = None
    details: dict[str, str] | None = None


class Log(Protocol):
    """An append-only sequence of records."""

    async def append(self, records: Sequence[Record]) -> Appended:
        """Append the records in order, durably, and say where they are."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` entries with offset > `after`, in order. Only an empty answer means the end.

        An answer holds fewer than `limit` entries when they would be larger than `limits.READ_BYTES` together. No
        entry with an offset up to the last one returned appears later: a reader that goes on from there misses none.
        """
        ...

    async def end(self) -> int:
        """The offset of the newest entry, 0 when empty."""
        ...

    async def wait_beyond(self, offset: int) -> None:
        """Return as soon as an entry with a larger offset exists."""
        ...


class Documents(Protocol):
    """Versioned documents by key."""

    async def get(self, key: str) -> Document | None:
        """The document, or None."""
        ...

    async def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Document]:
        """Up to `limit` documents whose key starts with `prefix` and is > `after`, in key order (by UTF-8 bytes)."""
        ...

    async def commit(self, changes: Sequence[Put | Delete], cursor: Cursor | None = None) -> tuple[int, ...]:
        """Apply all changes in order and set the cursor, in one transaction; the new version of each (0 for a delete).

        A later change to the same document sees the earlier one. A document created after a delete starts at 1 again.
        """
        ...

    async def cursor(self, name: str) -> int:
        """The committed offset of the named cursor, 0 when it was never set."""
        ...


class Store(Log, Documents, Protocol):
    """A log and documents that share their transactions."""

    async def health(self) -> StoreHealth:
        """Never raises; `writable` is false after a failed write until one succeeds."""
        ...
