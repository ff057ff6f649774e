"""A disk that is full, and a folder that cannot be written: ingest answers 503, health says so, the process lives."""

import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.processes.server import environment, serving

SERVICE = {"objective": {"goal": "minimize_cost"}, "variants": [{"name": "a"}], "baseline": "a", "mode": "fixed"}


def events(batch: int) -> dict[str, object]:
    """A batch of about 40 KB."""
    return {
        "events": [
            {
                "event_id": f"{batch}-{i}",
                "occurred_at": "2026-11-01T00:00:00Z",
                "service": "chat",
                "variant": "a",
                "input_tokens": 1,
                "attributes": {"filler": "x" * 300},
            }
            for i in range(100)
        ]
    }


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    with serving(tmp_path, LLM_OPTIMIZER__SUPERVISION__CHECK_INTERVAL_S="0.2") as server, server.client() as api:
        assert api.put("/api/v1/services/chat", json=SERVICE).status_code == 200
        process = psutil.Process(server.process.pid)
        largest = max(f.stat().st_size for f in (tmp_path / "store").iterdir())
        _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (largest + 200_000, hard))
        acknowledged, batch = 0, 0
        while True:
            reply = api.post("/api/v1/feedback", json=events(batch))
            if reply.status_code != 200:
                break
            acknowledged += reply.json()["accepted"]
            batch += 1
            assert batch < 200
        assert reply.status_code == 503
        assert reply.headers["retry-after"]
        assert reply.json()["title"] == "Storage cannot take this now"
        assert wait_for(api, "degraded")["storage"]["message"]
        assert api.post("/api/v1/services/chat/decide", json={}).status_code == 200
        process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        again = api.post("/api/v1/feedback", json=events(batch)).json()
        assert again["accepted"] + again["duplicates"] == 100
        assert wait_for(api, "healthy")["storage"]["healthy"] is True
        wanted = (batch + 1) * 100
        while (totals := api.get("/api/v1/services/chat/report").json()["totals"])["events"] < wanted:
            assert server.process.poll() is None
        assert totals["events"] == totals["input_tokens"] == wanted
        assert acknowledged == batch * 100
        assert server.stop() == 0


def wait_for(api: httpx.Client, status: str) -> dict[str, dict[str, object]]:
    """The services of the health report as soon as the overall status is the given one."""
    for _ in range(600):
        report = api.get("/health").json()
        if report["status"] == status:
            services: dict[str, dict[str, object]] = report["services"]
            return services
    raise AssertionError(f"never {status}: {report}")


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    environ = environment(blocked)
    command = [sys.executable, "-m", "optimizer", "serve"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (69, 78)
    assert str(blocked) in done.stdout + done.stderr


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with serving(folder) as server:
        modes = {p: stat.S_IMODE(p.stat().st_mode) for p in [folder, *folder.rglob("*")]}
        assert {p.name: oct(m) for p, m in modes.items() if m & 0o077} == {}
        assert server.stop() == 0


def test_a_second_process_on_the_folder_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        command = [sys.executable, "-m", "optimizer", "serve"]
        done = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 69
        assert str(server.process.pid) in done.stdout
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # that is what is refused
def test_an_open_door_is_refused(tmp_path: Path, host: str) -> None:
    extra = {"LLM_OPTIMIZER__SERVICE__HOST": host, "LLM_OPTIMIZER__SECURITY__AUTH_ENABLED": "false"}
    command = [sys.executable, "-m", "optimizer", "serve"]
    done = subprocess.run(
        command, env=environment(tmp_path, **extra), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 78
    assert "auth_enabled" in done.stderr
    assert list(tmp_path.iterdir()) == []
