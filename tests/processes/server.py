"""A real server process on a folder of its own, for tests that stop it, kill it and start it again."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

SECRET = "only for tests of whole processes 0123456789"
READY = re.compile(r"REST API listens.*?url=(\S+)")


@dataclass
class ServerProcess:
    """A running server."""

    process: "subprocess.Popen[str]"
    url: str
    token: str
    log: list[str]

    def client(self) -> httpx.Client:
        """A client with an administrator's token."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=20)

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.process.kill()
        self.reap()

    def reap(self) -> None:
        """Wait for a process that is ending, and read the last of its log."""
        rest, _ = self.process.communicate(timeout=40)
        self.log += rest.splitlines()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to stop; the exit code. Everything that it logged is in `log` afterwards."""
        self.process.send_signal(signal_number)
        self.reap()
        return self.process.returncode


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """Settings of a server on the folder, with free ports."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LLM_OPTIMIZER")}
    prefix = "LLM_OPTIMIZER__"
    return {
        **clean,
        f"{prefix}STORAGE__DATA_DIR": str(folder),
        f"{prefix}REST_API__PORT": "0",
        f"{prefix}GRPC_API__PORT": "0",
        f"{prefix}OBSERVABILITY__METRICS_PORT": "0",
        f"{prefix}SECURITY__JWT_SECRET": SECRET,
        **extra,
    }


def make_token(environ: dict[str, str]) -> str:
    """An administrator's token, by the command that a person would use."""
    command = [sys.executable, "-m", "optimizer", "token", "--role", "admin"]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def start(environ: dict[str, str], token: str, *flags: str) -> ServerProcess:
    """Start a server and return when it is ready. Raises AssertionError with its log when it ends instead."""
    command = [sys.executable, "-m", "optimizer", "serve", *flags]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    log: list[str] = []
    url = ""
    for line in process.stdout:
        log.append(line.rstrip("\n"))
        if found := READY.search(line):
            url = found[1]
        if "ready, waiting for signals" in line:
            return ServerProcess(process, url, token, log)
    process.wait(20)
    raise AssertionError("the server did not become ready:\n" + "\n".join(log))


@contextmanager
def serving(folder: Path, token: str = "", **extra: str) -> Iterator[ServerProcess]:
    """A ready server; killed at the end if the test has not ended it."""
    environ = environment(folder, **extra)
    server = start(environ, token or make_token(environ))
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
