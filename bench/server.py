"""A server process for measurements: its own folder, free ports, pinned to a core."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

VARIANTS = [{"name": "a"}, {"name": "b"}]


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens and how to authenticate."""

    url: str
    token: str
    pid: int
    grpc: str = ""

    def put(self, service: str, declaration: dict[str, object]) -> None:
        """Declare a service with variants a and b."""
        body = json.dumps({"variants": VARIANTS, **declaration}).encode()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        path = f"{self.url}/api/v1/services/{service}"
        urllib.request.urlopen(urllib.request.Request(path, body, headers, method="PUT"), timeout=10).close()

    def get(self, path: str) -> dict[str, object]:
        """GET a JSON object."""
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            parsed: dict[str, object] = json.loads(reply.read())
        return parsed

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return int(psutil.Process(self.pid).memory_info().rss)


def start(folder: Path, *, core: int | None = None, **settings: str) -> "tuple[subprocess.Popen[str], Server]":
    """Start a server on the folder and return when it is ready. Raises RuntimeError when it ends instead."""
    prefix = "LLM_OPTIMIZER__"
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("LLM_OPTIMIZER")},
        f"{prefix}STORAGE__DATA_DIR": str(folder / "data"),
        f"{prefix}REST_API__PORT": "0",
        f"{prefix}GRPC_API__PORT": "0",
        f"{prefix}OBSERVABILITY__METRICS_PORT": "0",
        **{prefix + name: value for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "optimizer"]
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    process = subprocess.Popen([*pinned, *command, "serve"], env=environ, stdout=subprocess.PIPE, text=True)
    url = grpc = ""
    for line in process.stdout or ():
        if found := re.search(r"REST API listens.*?url=(\S+)", line):
            url = found[1]
        if found := re.search(r"gRPC API listens.*?url=(\S+)", line):
            grpc = found[1]
        if "ready, waiting for signals" in line:
            break
    else:
        raise RuntimeError("the server did not become ready")
    # Nobody reads on: the log of a long run must not fill the pipe, and the server drops what does not fit.
    token = subprocess.run(
        [*command, "token", "--role", "admin", "--ttl", "86400"],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return process, Server(url, token, process.pid, grpc)


@contextmanager
def running(folder: Path, *, core: int | None = None, **settings: str) -> Iterator[Server]:
    """A ready server; stopped by SIGTERM at the end. `settings` are environment variables without their prefix."""
    process, server = start(folder, core=core, **settings)
    try:
        yield server
    finally:
        process.terminate()
        process.communicate(timeout=40)
