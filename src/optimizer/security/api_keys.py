"""API keys: shown once when minted, kept as a hash, looked up by their id."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable

import msgspec

from optimizer.model import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unauthenticated
from optimizer.security.identity import ROLES, Identity, permissions_of

MAX_KEYS = 10_000
_FORMAT = re.compile(r"^lok_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$")
_MAX_LENGTH = 512


class ApiKeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a key. Times are seconds since 1970. `digest` is SHA-256: a key has 256 random bits."""

    id: str
    name: str
    roles: tuple[str, ...]
    digest: bytes
    created_at: float
    expires_at: float | None = None


class ApiKeys:
    """The keys that hold now. Keys from the settings and from the store are added alike; a revoked one is removed."""

    def __init__(self, records: Iterable[ApiKeyRecord] = ()) -> None:
        self._by_id: dict[str, ApiKeyRecord] = {}
        self._by_digest: dict[bytes, ApiKeyRecord] = {}
        for record in records:
            self.add(record)

    def add(self, record: ApiKeyRecord) -> None:
        """Accept the key from now on."""
        if record.id in self._by_id or record.digest in self._by_digest:
            raise AlreadyExists(f"API key {record.id}")
        if len(self._by_id) >= MAX_KEYS:
            raise ResourceExhausted(f"there are {MAX_KEYS} API keys; revoke one first")
        self._by_id[record.id] = self._by_digest[record.digest] = record

    def revoke(self, key_id: str) -> ApiKeyRecord:
        """Refuse the key from now on. Raises: `NotFound`."""
        record = self._by_id.pop(key_id, None)
        if record is None:
            raise NotFound(f"API key {key_id}")
        del self._by_digest[record.digest]
        return record

    def records(self) -> tuple[ApiKeyRecord, ...]:
        """All keys, oldest first."""
        return tuple(sorted(self._by_id.values(), key=lambda record: (record.created_at, record.id)))

    def verify(self, key: str, *, now: float) -> Identity:
        """Who the key belongs to. Raises: `Unauthenticated`."""
        # Looked up by its hash: how long that takes tells about the hash, from which the key cannot be found.
        record = self._by_digest.get(_digest(key)) if 0 < len(key) <= _MAX_LENGTH else None
        if record is None or not hmac.compare_digest(record.digest, _digest(key)):
            raise Unauthenticated("the API key is not known")
        if record.expires_at is not None and now >= record.expires_at:
            raise Unauthenticated("the API key has expired")
        roles = frozenset(record.roles)
        return Identity(record.name, roles, permissions_of(roles), "api_key", record.expires_at)


def mint(
    name: str,
    roles: Iterable[str],
    *,
    now: float,
    expires_at: float | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[ApiKeyRecord, str]:
    """A new key: the record to store and the key itself, which cannot be shown again. Raises: `InvalidArgument`."""
    granted = tuple(sorted(set(roles)))
    unknown = [role for role in granted if role not in ROLES]
    if unknown or not granted:
        raise InvalidArgument(f"expected some of {', '.join(ROLES)}, not {', '.join(unknown) or 'none'}", field="roles")
    if not 1 <= len(name) <= 100 or not name.isprintable() or not name.strip():
        raise InvalidArgument("expected 1 to 100 printable characters", field="name")
    if expires_at is not None and expires_at <= now:
        raise InvalidArgument("lies in the past", field="expires_at")
    key_id = random(8).hex()
    key = f"lok_{key_id}_{_encode(random(32))}"
    record = ApiKeyRecord(
        id=key_id, name=name, roles=granted, digest=_digest(key), created_at=now, expires_at=expires_at
    )
    return record, key


def configured(name: str, key: str, roles: Iterable[str]) -> ApiKeyRecord:
    """The record of a key that the settings contain."""
    digest = _digest(key)
    return ApiKeyRecord(id="config-" + digest[:8].hex(), name=name, roles=tuple(roles), digest=digest, created_at=0.0)


def is_minted(text: str) -> bool:
    """Whether the text looks like a key of ours, for secret scanners and redaction."""
    return _FORMAT.match(text) is not None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
