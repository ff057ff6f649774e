"""Replay a recorded trace of calls against a server that is killed (-9) half-way and started again: exact totals?

    python -m bench.trace TRACE.csv.gz [--speed 600] [--kills 1]

TRACE has the columns TIMESTAMP, ContextTokens, GeneratedTokens. The client repeats a batch that was not acknowledged,
with the same event ids, as any client should; the server's totals must then equal the trace's exactly.
"""

import argparse
import csv
import gzip
import http.client
import json
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bench.server import Server, start

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LARGEST = 200


def read_trace(path: Path) -> list[tuple[float, int, int]]:
    """Seconds since the first call, input tokens, output tokens."""
    with gzip.open(path, "rt") as file:
        rows = [
            (datetime.fromisoformat(r["TIMESTAMP"][:26]), int(r["ContextTokens"]), int(r["GeneratedTokens"]))
            for r in csv.DictReader(file)
        ]
    first = rows[0][0]
    return [((at - first).total_seconds(), tin, tout) for at, tin, tout in rows]


def batches(trace: list[tuple[float, int, int]], speed: float) -> Iterator[list[dict[str, object]]]:
    """What is due, as soon as it is due, at most `LARGEST` calls at once."""
    began, batch = time.monotonic(), []
    for at, tin, tout in trace:
        batch.append(
            {
                "event_id": str(uuid.uuid4()),
                "occurred_at": (T0 + timedelta(seconds=at)).isoformat(),
                "service": "trace",
                "variant": "a",
                "input_tokens": tin,
                "output_tokens": tout,
                "latency_ms": 20.0 * tout,
            }
        )
        wait = began + at / speed - time.monotonic()
        if wait > 0 or len(batch) >= LARGEST:
            yield batch
            batch = []
            time.sleep(max(wait, 0.0))
    if batch:
        yield batch


class Client:
    """Sends to whichever server runs; a batch that was not acknowledged is sent again."""

    def __init__(self) -> None:
        self.repeated = 0
        self.duplicates = 0

    def send(self, server: Server, batch: list[dict[str, object]]) -> bool:
        """Whether the batch was acknowledged."""
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {"content-type": "application/json", "authorization": f"Bearer {server.token}"}
        try:
            connection.request("POST", "/api/v1/feedback", json.dumps({"events": batch}), headers)
            reply = connection.getresponse()
            body = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.repeated += 1
            return False
        finally:
            connection.close()
        if reply.status != 200 or body["rejected"]:
            raise RuntimeError(f"{reply.status} {body}")
        self.duplicates += body["duplicates"]
        return True


def run(trace: list[tuple[float, int, int]], speed: float, kills: int, folder: Path) -> dict[str, object]:
    """Replay with kills at equal distances; what was counted, and what should have been."""
    when = {len(trace) * (i + 1) // (kills + 1) for i in range(kills)}
    client, sent = Client(), 0
    process, server = start(folder)
    server.put("trace", {"objective": {"goal": "minimize_cost"}, "baseline": "a", "mode": "fixed"})
    for batch in batches(trace, speed):
        if any(sent <= at < sent + len(batch) for at in when):
            # Killed while this process waits for its answer: the batch may be in the log or not.
            threading.Timer(0.002, process.kill).start()
        while not client.send(server, batch):
            process.wait(20)
            process, server = start(folder)
        sent += len(batch)
    totals = settle(server, len(trace))
    process.send_signal(signal.SIGTERM)
    code = process.wait(40)
    want = {"events": len(trace), "input_tokens": sum(t[1] for t in trace), "output_tokens": sum(t[2] for t in trace)}
    got = {key: totals[key] for key in want}
    return {
        "exact": got == want,
        "want": want,
        "got": got,
        "kills": kills,
        "repeated_batches": client.repeated,
        "duplicates": client.duplicates,
        "exit": code,
    }


def settle(server: Server, events: int) -> dict[str, object]:
    """The totals once everything is folded."""
    for _ in range(600):
        totals: dict[str, object] = server.get("/api/v1/services/trace/report")["totals"]  # type: ignore[assignment]
        if isinstance(totals["events"], int) and totals["events"] >= events:
            return totals
        time.sleep(0.1)
    return totals


def main() -> int:
    """Replay and print the result; exit code 1 when the totals are not exact."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("trace", type=Path)
    ap.add_argument("--speed", type=float, default=600.0)
    ap.add_argument("--kills", type=int, default=1)
    args = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-trace-") as name:
        result = run(read_trace(args.trace), args.speed, args.kills, Path(name))
    print(f"{'':14} {'want':>14} {'got':>14}")
    want, got = result["want"], result["got"]
    assert isinstance(want, dict)
    assert isinstance(got, dict)
    for key, value in want.items():
        print(f"{key:14} {value:14,} {got[key]:14,}")
    print("RESULT " + json.dumps({"bench": "trace", **result}))
    return 0 if result["exact"] else 1


if __name__ == "__main__":
    sys.exit(main())
