"""Records that could not be taken, kept on disk with the reason until they are replayed, within a bound.

One JSON object for each line. A letter is durable before its offset is committed, so that a record is always in the
log, here, or still on the broker. Two files of half the bound each: when the second is full the first is given up.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

MOST_BYTES = 128 << 20
CURRENT, OLDER, TAKEN = "kafka.jsonl", "kafka.older.jsonl", "kafka.replaying.jsonl"

log = structlog.stdlib.get_logger(__name__)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it came, and why it was not taken. `at` is microseconds since 1970."""

    at: int
    reason: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeadLetter).decode


class DeadLetters:
    """The letters in a folder. Its functions block: call them in a thread."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._half = most_bytes // 2

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them; durable when it returns. Raises OSError when the disk does not take them."""
        text = b"".join(_encode(letter) + b"\n" for letter in letters)
        with self._locked():
            current = self._folder / CURRENT
            if current.exists() and current.stat().st_size + len(text) > self._half:
                older = self._folder / OLDER
                if older.exists():
                    log.warning("dead letters given up: the bound is reached", bytes=older.stat().st_size)
                current.replace(older)
            with current.open("ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self._sync_folder()

    def read(self) -> Iterator[DeadLetter]:
        """All letters, oldest first. A last line that a crash cut short is passed over."""
        for name in (TAKEN, OLDER, CURRENT):
            yield from _read(self._folder / name)

    def take(self) -> Iterator[DeadLetter]:
        """The letters, to be replayed; what is added meanwhile is not among them. `forget` when all are sent."""
        if self._folder.exists():
            with self._locked():
                for name in (OLDER, CURRENT):
                    source = self._folder / name
                    if source.exists():
                        with (self._folder / TAKEN).open("ab") as target:
                            target.write(source.read_bytes())
                            target.flush()
                            os.fsync(target.fileno())
                        source.unlink()
                self._sync_folder()
        return _read(self._folder / TAKEN)

    def forget(self) -> None:
        """The letters that were taken have been replayed."""
        (self._folder / TAKEN).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, over processes: the server adds while a command takes."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: Path) -> Iterator[DeadLetter]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield _decode(line)
            except msgspec.MsgspecError:
                log.warning("a dead letter cannot be read", file=str(path), bytes=len(line))
