"""A mapping of bytes to bytes in one file, in the format of `dbm.sqlite3`, with ranges and transactions."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optimizer.model import StorageUnavailable, StoreCorrupt

_CREATE = "CREATE TABLE IF NOT EXISTS Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)"
_GET = "SELECT value FROM Dict WHERE key = ?"
_RANGE = "SELECT key, value FROM Dict WHERE key >= ? AND key < ? ORDER BY key"
_LAST = "SELECT key, value FROM Dict WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT 1"
_PUT = "INSERT INTO Dict (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_DELETE = "DELETE FROM Dict WHERE key >= ? AND key < ?"

Row = tuple[bytes, bytes]
Span = tuple[bytes, bytes]
"""Keys from the first (included) to the second (not included)."""

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode: fsync of the log at every commit, before it is visible to readers
    "PRAGMA wal_autocheckpoint = 4096",  # 16 MiB: a checkpoint costs two fsyncs, and recovery reads at most about this
    "PRAGMA journal_size_limit = 67108864",  # a log that grew beyond 64 MiB shrinks again
    "PRAGMA cache_size = -8192",  # 8 MiB: the right edges of both trees and the documents in use
)


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """SQLite's and the system's failures in our words: damage is StoreCorrupt, all else may pass by itself."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a bug of ours, not a state of the disk
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", 0) & 0xFF
        name = getattr(e, "sqlite_errorname", type(e).__name__)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreCorrupt(f"{what}: {e} ({name})") from e
        raise StorageUnavailable(f"{what}: {e} ({name})") from e
    except OSError as e:
        raise StorageUnavailable(f"{what}: {e}") from e


class Mapping:
    """One connection to the file. Used by one thread at a time; every call blocks."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open the file, creating it when writable. Raises: StorageUnavailable, StoreCorrupt."""
        self.path = path
        self._what = f"store file {path}"
        with storage_errors(self._what):
            if writable:
                _create_private(path)
            uri = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(writable)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, writable: bool) -> None:
        if not writable:
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("PRAGMA cache_size = -4096")
            return
        for pragma in _PRAGMAS:
            self._connection.execute(pragma)
        mode, sync = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        )
        if (mode, sync) != ("wal", 2):
            raise StorageUnavailable(f"{self._what}: journal mode {mode}, synchronous {sync}: no durable commits")
        self._connection.execute(_CREATE)

    def get(self, key: bytes) -> bytes | None:
        """The value of the key, or None."""
        with storage_errors(self._what):
            row: tuple[bytes] | None = self._connection.execute(_GET, (key,)).fetchone()
        return None if row is None else row[0]

    def rows(self, span: Span) -> Iterator[Row]:
        """The rows of the span in key order, as they were when the first one was asked for."""
        with storage_errors(self._what):
            cursor = self._connection.execute(_RANGE, span)
            try:
                yield from cursor
            finally:
                cursor.close()

    def last(self, span: Span) -> Row | None:
        """The row with the largest key of the span, or None."""
        with storage_errors(self._what):
            row: Row | None = self._connection.execute(_LAST, span).fetchone()
        return row

    def write(self, puts: Iterable[Row], deletes: Iterable[Span] = ()) -> None:
        """Put, then delete, in one transaction that is on the disk when this returns.

        Raises: StorageUnavailable with the transaction rolled back; the caller then opens the file anew, because what
        the log on disk holds after a failed COMMIT is known only by reading it.
        """
        connection = self._connection
        with storage_errors(self._what):
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(_PUT, puts)
                connection.executemany(_DELETE, deletes)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself; the connection goes anyway
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; the last one to close moves the log into the file."""
        with storage_errors(self._what):
            self._connection.close()


def _create_private(path: Path) -> None:
    """An empty file that only its owner reads; SQLite gives the same mode to the files that it makes beside it."""
    if path.exists():
        return
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file's own fsync does not say that its name is on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
