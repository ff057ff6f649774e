"""`kill -9` while calls are reported: nothing acknowledged is lost, nothing is counted twice."""

import random
import threading
from pathlib import Path

import httpx

from tests.processes.server import ServerProcess, environment, make_token, start

KILLS = 30
BATCH = 40
SERVICE = {
    "objective": {"goal": "minimize_cost"},
    "variants": [{"name": "a"}, {"name": "b"}],
    "baseline": "a",
    "mode": "learn",
}


def events(batch: int) -> list[dict[str, object]]:
    """The calls of one batch; each has its own number as token count, so that sums show what was counted."""
    return [
        {
            "event_id": f"{batch}-{i}",
            "occurred_at": "2026-11-01T00:00:00Z",
            "service": "chat",
            "variant": "ab"[i % 2],
            "input_tokens": batch * BATCH + i,
            "cost_usd": f"0.{batch * BATCH + i:09d}",
            "quality": i % 2,
        }
        for i in range(BATCH)
    ]


def report_until_killed(server: ServerProcess, first: int, kill_after: float) -> tuple[int, int]:
    """Report batch after batch until the kill; how many were acknowledged, and how many of those were new."""
    timer = threading.Timer(kill_after, server.process.kill)
    timer.start()
    batch = first
    fresh = 0
    try:
        with server.client() as api:
            while True:
                receipt = api.post("/api/v1/feedback", json={"events": events(batch)}).json()
                assert receipt["accepted"] + receipt["duplicates"] == BATCH
                fresh += receipt["accepted"]
                batch += 1
    except (httpx.TransportError, ValueError):
        server.reap()
    finally:
        timer.join()
    return batch - first, fresh


def test_thirty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(20)
    environ = environment(tmp_path)
    token = make_token(environ)
    done = 0
    for round_ in range(KILLS):
        server = start(environ, token)
        if round_ == 0:
            with server.client() as api:
                assert api.put("/api/v1/services/chat", json=SERVICE).status_code == 200
        acknowledged, _ = report_until_killed(server, done, rng.uniform(0.02, 0.35))
        done += acknowledged  # the batch that the kill cut off is reported again: it may or may not be in the log
        assert server.process.returncode == -9
    server = start(environ, token)
    try:
        totals = finish(server, done)
    finally:
        assert server.stop() == 0
    count = (done + 1) * BATCH
    assert done >= KILLS
    assert totals["events"] == count
    assert totals["input_tokens"] == sum(range(count))
    assert totals["cost_usd"] == f"{sum(range(count)) / 10**9:.9f}"


def finish(server: ServerProcess, batch: int) -> dict[str, object]:
    """Report the batch that was cut off, and give the totals once it is folded."""
    with server.client() as api:
        receipt = api.post("/api/v1/feedback", json={"events": events(batch)}).json()
        assert receipt["accepted"] + receipt["duplicates"] == BATCH
        while True:
            totals: dict[str, object] = api.get("/api/v1/services/chat/report").json()["totals"]
            assert isinstance(totals["events"], int)
            if totals["events"] >= (batch + 1) * BATCH:
                return totals
