"""Reading beside the writer: a few connections that worker threads borrow."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from optimizer.model import StoreCorrupt
from optimizer.storage.embedded import keys
from optimizer.storage.embedded.frames import decode_document, decode_frame, decode_number
from optimizer.storage.embedded.mapping import Mapping
from optimizer.storage.limits import READ_BYTES
from optimizer.storage.protocols import Document, Entry

READERS = 2
"""Reads at once, one connection each (4 MiB of cache): a long scan and a short look-up do not wait for each other."""

T = TypeVar("T")


class Readers:
    """Connections for reading. What they see is committed and on the disk: SQLite shows no commit before its fsync."""

    def __init__(self, path: Path) -> None:
        """Open the connections. Raises: StorageUnavailable, StoreCorrupt."""
        self._free = [Mapping(path, writable=False) for _ in range(READERS)]
        self._limiter = trio.CapacityLimiter(READERS)

    async def run(self, read: Callable[[Mapping], T]) -> T:
        """What `read` returns for one of the connections, called in a worker thread."""

        def borrow() -> T:
            mapping = self._free.pop()
            try:
                return read(mapping)
            finally:
                self._free.append(mapping)

        return await trio.to_thread.run_sync(borrow, limiter=self._limiter)

    def close(self) -> None:
        """Close the connections; blocks."""
        for mapping in self._free:
            mapping.close()


def read_log(mapping: Mapping, after: int, limit: int) -> Sequence[Entry]:
    """See `Log.read`. Raises: StoreCorrupt when a frame is damaged or missing."""
    found: list[Entry] = []
    after = max(after, 0)
    size, previous = 0, after
    for key, value in mapping.rows((keys.frame(after + 1), keys.after_prefix(keys.LOG))) if limit > 0 else ():
        frame = decode_frame(key, value)
        if frame.first > previous + 1:
            raise StoreCorrupt(f"the log lacks the entries between offsets {previous} and {frame.first}")
        previous = frame.last
        for entry in frame.entries(after):
            size += len(entry.payload)
            if found and size > READ_BYTES:
                return found
            found.append(entry)
            if len(found) == limit:
                return found
    return found


def read_document(mapping: Mapping, name: bytes) -> Document | None:
    """See `Documents.get`."""
    key = keys.document(name)
    value = mapping.get(key)
    return None if value is None else decode_document(key, value)


def scan_documents(mapping: Mapping, prefix: bytes, after: bytes, limit: int) -> Sequence[Document]:
    """See `Documents.scan`."""
    start = keys.document(prefix)
    found: list[Document] = []
    first = max(start, keys.document(after) + b"\x00") if after else start
    for key, value in mapping.rows((first, keys.after_prefix(start))) if limit > 0 else ():
        found.append(decode_document(key, value))
        if len(found) == limit:
            break
    return found


def read_cursor(mapping: Mapping, name: bytes) -> int:
    """See `Documents.cursor`."""
    key = keys.cursor(name)
    value = mapping.get(key)
    return 0 if value is None else decode_number(key, value)
