"""Real servers for tests marked `services`, started by scripts/services and stopped when the tests end."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def recorded(name: str) -> dict[str, object]:
    """What var/services.json says about the server."""
    known: dict[str, dict[str, object]] = json.loads((ROOT / "var" / "services.json").read_text())
    return known[name]


def command(action: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/services."""
    program = [str(ROOT / "scripts" / "services"), action, name]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=600)


@contextmanager
def service(name: str) -> Iterator[str]:
    """The server's URL. One that ran before goes on running. Where it cannot be had the test is skipped, or, with
    CI=true, fails.
    """
    ran = command("status", name).returncode == 0
    started = command("up", name)
    if started.returncode != 0:
        reason = f"scripts/services up {name}: {started.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield str(recorded(name)["url"])
    finally:
        if not ran:
            command("down", name)
