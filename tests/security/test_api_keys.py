"""API keys: shown once, kept as a hash, refused when unknown, expired or revoked."""

from pathlib import Path

import msgspec
import pytest

from optimizer.config import load_settings
from optimizer.model import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unauthenticated
from optimizer.security import ApiKeyRecord, ApiKeys, load_keys, make_authenticator, mint
from optimizer.security.api_keys import MAX_KEYS, is_minted


def test_a_minted_key_speaks_for_its_name_and_roles() -> None:
    record, key = mint("ci", ["api_user"], now=1000)
    keys = ApiKeys([record])
    identity = keys.verify(key, now=2000)
    assert (identity.subject, set(identity.roles), str(identity.kind)) == ("ci", {"api_user"}, "api_key")
    assert is_minted(key)
    stored = msgspec.msgpack.encode(record)
    assert key.encode() not in stored
    assert key.rpartition("_")[2].encode() not in stored
    assert msgspec.msgpack.decode(stored, type=ApiKeyRecord) == record


@pytest.mark.parametrize(
    "change",
    [
        lambda k: "",
        lambda k: k[:-1],
        lambda k: k + "x",
        str.upper,
        lambda k: k[:-1] + "é",
        lambda k: "x" * 10**6,
        lambda k: "\udc80",
    ],
)
def test_anything_else_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    record, key = mint("ci", ["user"], now=1000)
    with pytest.raises(Unauthenticated) as caught:
        ApiKeys([record]).verify(change(key), now=1001)
    assert key[:20] not in str(caught.value)


def test_expiry_and_revocation() -> None:
    record, key = mint("ci", ["user"], now=1000, expires_at=1060)
    keys = ApiKeys([record])
    assert keys.verify(key, now=1059).expires_at == 1060
    with pytest.raises(Unauthenticated, match="expired"):
        keys.verify(key, now=1060)
    assert keys.revoke(record.id) == record
    with pytest.raises(Unauthenticated, match="not known"):
        keys.verify(key, now=1001)
    with pytest.raises(NotFound):
        keys.revoke(record.id)
    assert keys.records() == ()


@pytest.mark.parametrize(
    ("name", "roles", "expires_at", "field"),
    [
        ("", ["user"], None, "name"),
        ("x" * 101, ["user"], None, "name"),
        ("a\nb", ["user"], None, "name"),
        ("a", [], None, "roles"),
        ("a", ["root"], None, "roles"),
        ("a", ["user"], 1000, "expires_at"),
    ],
)
def test_nonsense_is_not_minted(name: str, roles: list[str], expires_at: float | None, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        mint(name, roles, now=1000, expires_at=expires_at)
    assert caught.value.field == field


def test_the_number_of_keys_is_bounded() -> None:
    keys = ApiKeys()
    record, _ = mint("ci", ["user"], now=0)
    keys.add(record)
    with pytest.raises(AlreadyExists):
        keys.add(record)
    for number in range(MAX_KEYS - 1):
        keys.add(msgspec.structs.replace(record, id=str(number), digest=str(number).encode()))
    with pytest.raises(ResourceExhausted):
        keys.add(mint("one more", ["user"], now=0)[0])


def test_the_door_takes_one_credential(tmp_path: Path) -> None:
    key = "k" * 40
    environ = {
        "LLM_OPTIMIZER__STORAGE__DATA_DIR": str(tmp_path),
        "LLM_OPTIMIZER__SECURITY__API_KEYS": f'[{{"name": "ci", "key": "{key}", "roles": ["user"]}}]',
    }
    settings = load_settings(None, environ)
    door = make_authenticator(settings, load_keys(settings))
    token = door.tokens.issue("alice", ["admin"], now=1000, ttl_s=60)
    assert door.authenticate(f"bearer {token}", None, now=1001).subject == "alice"
    assert door.authenticate(None, key, now=1001).subject == "ci"
    for authorization, api_key in [
        (None, None),
        (f"Bearer {token}", key),
        ("Bearer", None),
        ("Bearer ", None),
        (f"Basic {token}", None),
        (token, None),
        ("", None),
        (None, ""),
    ]:
        with pytest.raises(Unauthenticated):
            door.authenticate(authorization, api_key, now=1001)


def test_without_authentication_everybody_is_local(tmp_path: Path) -> None:
    settings = load_settings(
        None, {"LLM_OPTIMIZER__STORAGE__DATA_DIR": str(tmp_path)}, {"security.auth_enabled": False}
    )
    door = make_authenticator(settings, load_keys(settings))
    assert door.authenticate(None, None, now=0).kind == "local"
    assert door.authenticate("Bearer nonsense", "x", now=0).kind == "local"
