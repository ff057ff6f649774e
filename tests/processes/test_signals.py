"""Signals on whole processes: drain with requests in flight, second signal, SIGHUP storms, a log that nobody reads."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx
import trio

from tests.processes.server import ServerProcess, environment, make_token, serving, start

ORDER = ["grpc_api", "rest_api", "processor", "integrations", "collector", "storage"]
SERVICE = {
    "objective": {"goal": "minimize_cost"},
    "variants": [{"name": "a"}, {"name": "b"}],
    "baseline": "a",
    "mode": "learn",
}
IN_FLIGHT = 200


def stop_order(log: Iterable[str]) -> list[str]:
    """The services in the order in which the log says that they stopped."""
    found = (re.search(r"service stopped .*?service=(\w+)", line) for line in log)
    return [match[1] for match in found if match and match[1] in ORDER]


def declare(server: ServerProcess) -> None:
    with server.client() as api:
        assert api.put("/api/v1/services/chat", json=SERVICE).status_code == 200


def request_of(server: ServerProcess, number: int) -> tuple[bytes, bytes]:
    """A feedback request in two halves."""
    event = {"event_id": f"e{number}", "occurred_at": "2026-11-01T00:00:00Z", "service": "chat", "variant": "a"}
    body = json.dumps({"events": [event]}).encode()
    head = (
        f"POST /api/v1/feedback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    return head + body[:10], body[10:]


async def connect(server: ServerProcess) -> trio.SocketStream:
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    return await trio.open_tcp_stream(host, int(port))


async def test_requests_in_flight_at_sigterm_all_finish(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        declare(server)
        answers: list[bytes] = []
        sent, go = trio.Semaphore(0), trio.Event()

        async def report(number: int) -> None:
            first, second = request_of(server, number)
            async with await connect(server) as stream:
                await stream.send_all(first)
                sent.release()
                await go.wait()
                await stream.send_all(second)
                answers.append(bytes(await stream.receive_some(65536)))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(IN_FLIGHT):
                    nursery.start_soon(report, number)
                for _ in range(IN_FLIGHT):
                    await sent.acquire()
                async with httpx.AsyncClient() as api:
                    # Answered after everything that was sent before it: the server knows of all the others now.
                    assert (await api.get(f"{server.url}/health/live")).status_code == 200
                server.process.send_signal(signal.SIGTERM)
                await refused(server)
                go.set()
        assert len(answers) == IN_FLIGHT
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        server.reap()
        assert server.process.returncode == 0
        assert stop_order(server.log) == ORDER


async def refused(server: ServerProcess) -> None:
    """Return when the server accepts no more connections: the drain has begun."""
    while True:
        try:
            await (await connect(server)).aclose()
        except OSError:
            return


async def test_a_second_signal_does_not_wait_for_slow_requests(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        declare(server)
        async with await connect(server) as stream:
            await stream.send_all(request_of(server, 1)[0])  # the rest never comes
            server.process.send_signal(signal.SIGTERM)
            with trio.fail_after(30):
                await refused(server)
            server.process.send_signal(signal.SIGINT)
            server.reap()
        assert server.process.returncode == 0
        assert stop_order(server.log) == ORDER


def test_sigterm_while_starting_is_a_clean_end(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command = [sys.executable, "-m", "optimizer", "serve"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    log = []
    for line in process.stdout:
        log.append(line)
        if "service started" in line:
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "Traceback" not in rest
    stopped = stop_order([*log, *rest.splitlines()])
    assert stopped == ORDER[len(ORDER) - len(stopped) :]


async def test_a_storm_of_sighups_fails_no_call_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "optimizer.toml"
    file.write_text('[observability]\nlog_level = "info"\n')
    environ = environment(tmp_path / "data")
    server = start(environ, make_token(environ), "--config", str(file))
    try:
        declare(server)
        async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {server.token}"}) as api:
            for round_ in range(200):
                server.process.send_signal(signal.SIGHUP)
                answer = await api.post("/api/v1/services/chat/decide", json={"key": f"user-{round_}"})
                assert answer.status_code == 200
            file.write_text('[observability]\nlog_level = "loud"\n')
            server.process.send_signal(signal.SIGHUP)
            assert (await api.get("/health")).status_code == 200
            await gone_quiet(api)
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()
    assert any("configuration reloaded" in line for line in server.log)
    assert any("refused" in line and "loud" in line for line in server.log)


async def gone_quiet(api: httpx.AsyncClient) -> None:
    """A few round trips, in which the server has had time to handle a signal."""
    for _ in range(20):
        assert (await api.get("/health/live")).status_code == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_into(pipe: int, environ: dict[str, str]) -> "subprocess.Popen[str]":
    """A server whose standard output is the pipe, which is closed here."""
    command = [sys.executable, "-m", "optimizer", "serve"]
    try:
        return subprocess.Popen(command, env=environ, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    finally:
        os.close(pipe)


async def wait_ready(url: str) -> None:
    async with httpx.AsyncClient() as api:
        while True:
            try:
                if (await api.get(f"{url}/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await trio.lowlevel.checkpoint()


async def test_a_log_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    """The pipe at standard output is full, then closed: calls are answered, the stop is clean."""
    port = free_port()
    environ = environment(tmp_path, LLM_OPTIMIZER__REST_API__PORT=str(port))
    environ["LLM_OPTIMIZER__OBSERVABILITY__LOG_LEVEL"] = "debug"
    token = make_token(environ)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)  # full before the server writes its first line
    process = start_into(writing, environ)
    server = ServerProcess(process, f"http://127.0.0.1:{port}", token, [])
    try:
        with trio.fail_after(60):
            await wait_ready(server.url)
            declare(server)
            async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {token}"}) as api:
                for number in range(100):
                    assert (
                        await api.post("/api/v1/services/chat/decide", json={"key": str(number)})
                    ).status_code == 200
                os.close(reading)
                for number in range(100):
                    assert (
                        await api.post("/api/v1/services/chat/decide", json={"key": str(number)})
                    ).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
