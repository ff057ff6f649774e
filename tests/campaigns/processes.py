"""Whole processes started and stopped by signals under load: `python -m tests.campaign --part processes --seeds 10000`.

A hundredth of the seeds are starts: each costs about a second.
"""

import random
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx

from tests.processes.server import ServerProcess, environment, make_token, start
from tests.processes.test_signals import ORDER, declare, stop_order


def main(seeds: int) -> int:
    """Start, put under load, stop with a signal at some moment; the number of runs in which anything was not exact."""
    runs, failures = max(1, seeds // 100), 0
    stops: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        environ = environment(Path(folder))
        token = make_token(environ)
        for seed in range(runs):
            rng = random.Random(seed)
            server = start(environ, token)
            declare(server)
            began, code = stop_under_load(server, rng)
            stops.append(time.monotonic() - began)
            if code != 0 or stop_order(server.log) != ORDER:
                failures += 1
                print(f"  seed {seed}: exit {code}, order {stop_order(server.log)}")
    print(
        f"processes: {runs} starts and stops under load, {failures} not exact; "
        f"stop took {statistics.median(stops):.2f} s (median), {max(stops):.2f} s (longest)"
    )
    return failures


def stop_under_load(server: ServerProcess, rng: random.Random) -> tuple[float, int]:
    """Call from four threads, send the signal in the middle of it; when it was sent, and the exit code."""
    done = threading.Event()

    def call(number: int) -> None:
        with server.client() as api:
            while not done.is_set():
                try:
                    api.post("/api/v1/services/chat/decide", json={"key": str(number)})
                except httpx.TransportError:
                    return  # the server is gone, as it should be

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0.0, 0.3))
    began = time.monotonic()
    code = server.stop(rng.choice([signal.SIGTERM, signal.SIGINT]))
    done.set()
    for thread in threads:
        thread.join(20)
    return began, code
