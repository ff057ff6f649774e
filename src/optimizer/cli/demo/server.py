"""The demo's server: a real `serve` process on a temporary store and free ports, driven through its public API."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import trio

START_S = 20.0
STOP_S = 20.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its public API and the token that the demo uses."""

    api: httpx.AsyncClient
    process: subprocess.Popen[bytes]
    log: Path

    async def get(self, path: str) -> dict[str, object]:
        """GET a JSON object. Raises DemoFailed for anything but success."""
        return self._json(await self.api.get(path))

    async def send(self, method: str, path: str, body: object) -> dict[str, object]:
        """Send JSON and read a JSON object. Raises DemoFailed for anything but success."""
        return self._json(await self.api.request(method, path, json=body))

    def _json(self, reply: httpx.Response) -> dict[str, object]:
        if reply.status_code >= 300:
            raise DemoFailed(f"{reply.request.method} {reply.request.url.path}: {reply.status_code} {reply.text[:300]}")
        parsed = reply.json()
        if not isinstance(parsed, dict):
            raise DemoFailed(f"{reply.request.url.path}: expected a JSON object")
        return parsed


def environment(folder: Path, ports: tuple[int, int, int]) -> dict[str, str]:
    """The process environment of a server on the folder: everything else is the default."""
    prefix = "LLM_OPTIMIZER__"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LLM_OPTIMIZER_")}
    return {
        **inherited,
        f"{prefix}STORAGE__DATA_DIR": str(folder / "data"),
        f"{prefix}REST_API__PORT": str(ports[0]),
        f"{prefix}GRPC_API__PORT": str(ports[1]),
        f"{prefix}OBSERVABILITY__METRICS_PORT": str(ports[2]),
    }


def start(command: list[str], environ: dict[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that writes to `out`; starting one takes a millisecond, so it need not be awaited."""
    return subprocess.Popen(command, env=environ, stdout=out, stderr=out)  # noqa: S603  # our own command


def pick_ports() -> tuple[int, int, int]:
    """Three ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports[0], ports[1], ports[2]


@asynccontextmanager
async def open_server(folder: Path, environ: dict[str, str]) -> AsyncIterator[Server]:
    """A ready server on the folder; on leaving, SIGTERM and a clean exit. Raises DemoFailed."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "optimizer"]
    with log.open("ab") as out:
        process = start([*command, "serve"], environ, out)
    try:
        url = f"http://127.0.0.1:{environ['LLM_OPTIMIZER__REST_API__PORT']}"
        await wait_ready(url, process, log)
        token = await trio.run_process(
            [*command, "token", "--role", "admin"], env=environ, capture_stdout=True, capture_stderr=True
        )
        headers = {"authorization": f"Bearer {token.stdout.decode().strip()}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as api:
            yield Server(api, process, log)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_S):
            code = await trio.to_thread.run_sync(process.wait)
        if code:
            raise DemoFailed(f"the server ended with exit code {code}; its log: {tail(log)}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server at `url` is ready. Raises DemoFailed with its log when it ends or takes too long."""
    with trio.move_on_after(START_S):
        async with httpx.AsyncClient() as client:
            while process.poll() is None:
                try:
                    if (await client.get(f"{url}/health/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                await trio.sleep(0.05)
    raise DemoFailed(f"the server did not become ready; its log: {tail(log)}")


def tail(log: Path) -> str:
    """The last lines of the server's log, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))[-2000:]
