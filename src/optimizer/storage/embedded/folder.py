"""The store's folder: private, and held by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.model import StoreLocked
from optimizer.storage.embedded.mapping import storage_errors, sync_folder


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Create the folder and those above it (mode 0700) when missing, and lock it against every other process.

    The kernel drops the lock when its holder dies, however it dies. Raises: StoreLocked with the holder's process id,
    StorageUnavailable when the folder cannot be made or written.
    """
    with storage_errors(f"store folder {folder}"):
        # One by one: `parents=True` would make the folders above with the default mode, open to others.
        for missing in reversed([f for f in (folder, *folder.parents) if not f.is_dir()]):
            missing.mkdir(mode=0o700)
            sync_folder(missing.parent)
        handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        with storage_errors(f"store folder {folder}"):
            _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise StoreLocked(
            f"the store in {folder} is in use by process {holder}; one process at a time may open it"
        ) from e
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
