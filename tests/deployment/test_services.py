"""scripts/services: real servers in private folders, started, found again, and gone without a trace."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.services import ROOT, command, recorded, service

pytestmark = pytest.mark.services


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_redis_goes_up_and_down() -> None:
    with service("redis") as url:
        first = recorded("redis")
        port, folder = int(str(first["port"])), Path(str(first["folder"]))
        assert url == f"redis://:{first['secret']}@127.0.0.1:{port}/0"
        assert answers(port)
        assert command("up", "redis").returncode == 0
        assert recorded("redis") == first  # what runs is kept
        assert "running" in command("status", "redis").stdout
    if command("status", "redis").returncode != 0:  # it was not ours to keep
        assert not answers(port)
        assert not folder.exists()


def test_a_killed_server_comes_back_on_its_port() -> None:
    with service("redis"):
        first = recorded("redis")
        subprocess.run(["kill", "-9", str(first["pid"])], check=True)
        assert command("up", "redis").returncode == 0
        second = recorded("redis")
        assert (second["port"], second["secret"]) == (first["port"], first["secret"])
        assert second["pid"] != first["pid"]
        assert answers(int(str(second["port"])))


def test_passwords_are_for_the_owner_alone() -> None:
    with service("redis"):
        assert (ROOT / "var" / "services.json").stat().st_mode & 0o077 == 0
        assert Path(str(recorded("redis")["folder"])).stat().st_mode & 0o077 == 0
        listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert str(recorded("redis")["secret"]) not in listing


def test_an_unknown_server_is_an_error_that_names_those_there_are() -> None:
    assert shutil.which("python3") is not None
    done = command("up", "oracle")
    assert done.returncode == 2
    assert "postgres, redis, kafka" in done.stderr
