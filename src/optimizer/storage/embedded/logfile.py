"""Reading a store's log beside its owner, or without one: for replay and for looking, never for writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.model import NotFound
from optimizer.storage.embedded.mapping import Mapping
from optimizer.storage.embedded.reader import read_log
from optimizer.storage.embedded.store import FILE_NAME
from optimizer.storage.protocols import Entry

BATCH = 2_000


class LogFile:
    """The committed entries of a log file, as often as wanted."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All entries after the offset, to the end as it is when that is reached. Raises StoreCorrupt."""
        while batch := read_log(self._mapping, after, BATCH):
            yield from batch
            after = batch[-1].offset


@contextmanager
def open_log_file(folder: Path) -> Iterator[LogFile]:
    """The log of the store in `folder`. Raises NotFound, StorageUnavailable, StoreCorrupt."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise NotFound(f"there is no store in {folder}")
    mapping = Mapping(path, writable=False)
    try:
        yield LogFile(mapping)
    finally:
        mapping.close()
