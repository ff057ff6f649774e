"""The command as people use it: a whole process, its exit codes, stop order and key, and what a second one is told."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from optimizer.security import open_signing_key
from tests.processes.server import ServerProcess, environment, make_token, serving

WITHOUT_SECRET = {"LLM_OPTIMIZER__SECURITY__JWT_SECRET": ""}
ORDER = ["storage", "collector", "integrations", "processor", "rest_api", "grpc_api"]


def run(arguments: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optimizer", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


def services(log: Sequence[str], what: str) -> list[str]:
    found = [re.search(rf"service {what} .*?service=(\w+)", line) for line in log]
    return [match[1] for match in found if match is not None and match[1] in ORDER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "data"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """A server that made its own key; whole starts take a second each, so these tests share one."""
    with serving(folder, **WITHOUT_SECRET) as running:
        yield running
        assert running.stop(signal.SIGINT) == 0
    assert services(running.log, "started") == ORDER
    assert services(running.log, "stopped") == ORDER[::-1]
    key = (folder / "signing.key").read_text().strip()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not any(key in line or running.token in line for line in running.log)


def test_the_key_of_the_data_folder_opens_the_server(server: ServerProcess, tmp_path: Path) -> None:
    url = f"{server.url}/api/v1/services"
    with server.client() as client:
        assert client.get("/api/v1/services").status_code == 200
    stranger = make_token(environment(tmp_path / "other", **WITHOUT_SECRET))
    assert httpx.get(url, headers={"authorization": f"Bearer {stranger}"}).status_code == 401
    assert httpx.get(url).status_code == 401


def test_a_second_process_on_the_folder_is_told_so(server: ServerProcess, folder: Path) -> None:
    second = run([], environment(folder))
    assert second.returncode == 69
    assert "storage could not be started" in second.stdout
    assert "StoreLocked" in second.stdout
    with server.client() as client:
        assert client.get("/health").status_code == 200


def test_a_taken_port_is_told(server: ServerProcess, tmp_path: Path) -> None:
    port = str(httpx.URL(server.url).port)
    second = run(["serve"], environment(tmp_path / "b", LLM_OPTIMIZER__REST_API__PORT=port))
    assert second.returncode == 69
    assert "rest_api could not be started" in second.stdout
    assert "Address already in use" in second.stdout


def test_a_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    bad = run(
        [],
        environment(
            tmp_path / "data", LLM_OPTIMIZER__SERVICE__HOST="0.0.0.0", LLM_OPTIMIZER__SECURITY__AUTH_ENABLED="no"
        ),
    )
    assert bad.returncode == 78
    assert "must not be reachable from outside" in bad.stderr
    assert bad.stdout == ""
    assert not (tmp_path / "data").exists()


def test_a_key_that_others_can_read_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    environ = environment(folder, **WITHOUT_SECRET)
    open_signing_key(folder)
    (folder / "signing.key").chmod(0o644)
    refused = run([], environ)
    assert refused.returncode == 78
    assert "chmod 600" in refused.stdout + refused.stderr


def test_starting_imports_only_what_serving_needs() -> None:
    code = (
        "import sys, optimizer.cli.main, optimizer.cli.serving, optimizer.nurseries.services;"
        "late = {'scipy', 'genai_prices', 'yaml', 'aiokafka', 'asyncpg', 'redis', 'httpx', 'tomli_w'};"
        "late.add('opentelemetry.sdk');"
        "sys.exit(str(late & sys.modules.keys()) if late & sys.modules.keys() else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, f"imported before they are needed: {done.stderr}"
