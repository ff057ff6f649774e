"""The signing key: made once, readable by its owner alone, and refused when that is not so."""

import multiprocessing
import os
from pathlib import Path

import pytest

from optimizer.config import Settings, load_settings
from optimizer.model import ConfigurationError
from optimizer.security import load_keys, make_authenticator, make_tokens, open_signing_key
from optimizer.security.keys import KEY_FILE, derive


def settings(folder: Path, **security: object) -> Settings:
    overrides = {"storage.data_dir": str(folder)} | {f"security.{key}": value for key, value in security.items()}
    return load_settings(None, None, overrides)


def test_the_key_is_made_once_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    key = open_signing_key(folder)
    assert len(key) == 32
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert open_signing_key(folder) == key
    assert open_signing_key(tmp_path / "b") != key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    key = open_signing_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        open_signing_key(tmp_path)
    assert key.hex() not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"zz" * 32, b"\xff" * 64, b"00" * 33, b"0" * 5000])
def test_a_damaged_key_is_refused_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="expected 32 bytes in hexadecimal"):
        open_signing_key(tmp_path)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    open_signing_key(tmp_path / "other")
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "other" / KEY_FILE)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        open_signing_key(tmp_path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(ConfigurationError):
        open_signing_key(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        open_signing_key(tmp_path / "pipe")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = set(pool.map(open_signing_key, [tmp_path] * 8, chunksize=1))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_each_purpose_has_its_own_key(tmp_path: Path) -> None:
    keys = load_keys(settings(tmp_path))
    assert len({*keys.jwt, *keys.assignment, keys.master, keys.derive("webhook"), keys.derive("cursor")}) == 5
    assert keys.assignment == (derive(open_signing_key(tmp_path), "assignment"),)
    assert keys.master.hex() not in repr(keys)
    assert load_keys(settings(tmp_path)) == keys


def test_replicas_share_a_configured_secret(tmp_path: Path) -> None:
    first, second = (settings(tmp_path / name, jwt_secret="s" * 40) for name in ("a", "b"))
    token = make_tokens(first, load_keys(first)).issue("alice", ["user"], now=1000, ttl_s=60)
    assert make_tokens(second, load_keys(second)).verify(token, now=1001).subject == "alice"
    assert load_keys(first) == load_keys(second)
    assert not (tmp_path / "a").exists()


def test_a_retired_secret_still_verifies(tmp_path: Path) -> None:
    old, new = (
        settings(tmp_path, jwt_secret="o" * 32),
        settings(tmp_path, jwt_secret="n" * 32, jwt_previous_secrets=["o" * 32]),
    )
    token = make_tokens(old, load_keys(old)).issue("alice", ["user"], now=1000, ttl_s=60)
    assert make_authenticator(new, load_keys(new)).authenticate(f"Bearer {token}", None, now=1001).subject == "alice"
    assert load_keys(new).assignment[1] == load_keys(old).assignment[0]
