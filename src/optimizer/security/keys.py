"""The server's own secret: made at random on first start, kept in a file that nobody else may read.

Nothing is built in, and nothing is used for two purposes: every use derives its own key.
"""

import contextlib
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimizer.config import Settings
from optimizer.model import ConfigurationError

KEY_FILE = "signing.key"
KEY_BYTES = 32
_MAX_FILE_BYTES = 4096

Purpose = Literal["jwt", "assignment", "webhook", "cursor"]


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The key material of this process. `jwt` and `assignment` hold the current key first, then retired ones."""

    jwt: tuple[bytes, ...]
    assignment: tuple[bytes, ...]
    master: bytes

    def derive(self, purpose: Purpose) -> bytes:
        """The 32-byte key for one purpose."""
        return derive(self.master, purpose)


def load_keys(settings: Settings) -> Keys:
    """The keys that the settings name: the shared secret when there is one, else the key file, made when missing.

    Tokens made with a shared secret are signed with the secret itself, so that other programs can issue them.
    Raises: `ConfigurationError` when the file cannot be made or read, or others may read it.
    """
    shared = settings.security.jwt_secret
    retired = tuple(secret.get_secret_value().encode() for secret in settings.security.jwt_previous_secrets)
    if shared is None:
        master = open_signing_key(settings.storage.data_dir)
        current = derive(master, "jwt")
    else:
        current = shared.get_secret_value().encode()
        master = hashlib.sha256(current).digest()
    masters = (master, *(hashlib.sha256(secret).digest() for secret in retired))
    return Keys((current, *retired), tuple(derive(each, "assignment") for each in masters), master)


def derive(master: bytes, purpose: Purpose) -> bytes:
    """A key for one purpose: keyed BLAKE2b (RFC 7693), a pseudorandom function, so keys tell nothing of each other."""
    return hashlib.blake2b(purpose.encode(), key=master, digest_size=32, person=b"llm-optimizer").digest()


def open_signing_key(folder: Path) -> bytes:
    """The 32-byte key in `folder`, created with the folder when missing.

    Two processes that start at once agree on one key. A crash leaves either no key or a whole one.
    Raises: `ConfigurationError` that says what to do.
    """
    path = folder / KEY_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _read(path)
        except FileNotFoundError:
            _create(path)
            return _read(path)
    except OSError as error:
        raise ConfigurationError(
            f"storage.data_dir: the signing key {path} cannot be used: {error.strerror or error}"
        ) from error


def _read(path: Path) -> bytes:
    # Not through a link: whoever can plant one could choose the key.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path}: is not a regular file")
        if status.st_mode & 0o077:
            raise ConfigurationError(
                f"{path}: others may read or change the signing key (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"if nobody did, run: chmod 600 {path}; else delete it, and all tokens end"
            )
        if status.st_uid not in {os.geteuid(), 0}:
            raise ConfigurationError(f"{path}: belongs to another user (uid {status.st_uid})")
        text = file.read(_MAX_FILE_BYTES)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{path}: expected {KEY_BYTES} bytes in hexadecimal; restore it from a backup, "
            "or delete it, and all tokens end"
        )
    return key


def _create(path: Path) -> None:
    """Write a new key beside its place, then link it there: the link fails if another process was first."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
