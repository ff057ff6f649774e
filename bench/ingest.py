"""How many events a second become durable over REST, in batches, with the server pinned to one core?

    python -m bench.ingest [--seconds 10] [--batch 100] [--connections 4]

Peer in the same run: the same JSON batches, parsed and written by the simplest server there is (http.server, one
SQLite transaction for each batch, synchronous=FULL, no validation, no deduplication, no statistics).
"""

import argparse
import http.client
import http.server
import json
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

SERVER_CORE, CLIENT_CORE = 0, 1 if (os.cpu_count() or 1) > 1 else 0


def make_body(batch: int) -> bytes:
    """One batch of feedback, as an application would send it."""
    events = [
        {
            "event_id": str(uuid.uuid4()),
            "occurred_at": "2026-11-01T00:00:00.123456+00:00",
            "service": "bench",
            "variant": "ab"[i % 2],
            "model": "some-model",
            "context": {"category": f"c{i % 8}"},
            "latency_ms": 812.5,
            "input_tokens": 614,
            "output_tokens": 28,
            "cost_usd": "0.000188700",
            "quality": 1.0,
        }
        for i in range(batch)
    ]
    return json.dumps({"events": events}).encode()


def send(url: str, token: str, batch: int, seconds: float, sent: list[int]) -> None:
    """Send batches over one connection until the time is up; each is counted when it is acknowledged."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.request("POST", "/api/v1/feedback", make_body(batch), headers)
        reply = connection.getresponse()
        body = json.loads(reply.read())
        if reply.status != 200 or body["accepted"] != batch:
            raise RuntimeError(f"{reply.status} {body}")
        sent.append(batch)
    connection.close()


def measure(url: str, token: str, batch: int, seconds: float, connections: int) -> float:
    """Acknowledged events a second over some connections."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    sent: list[int] = []
    threads = [
        threading.Thread(target=send, args=(url, token, batch, seconds, sent), daemon=True) for _ in range(connections)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(sent) / (time.monotonic() - began)


class Simplest(http.server.BaseHTTPRequestHandler):
    """The peer: parse, write, answer."""

    protocol_version = "HTTP/1.1"
    database: sqlite3.Connection
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Write one batch in one transaction."""
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))["events"]
        with self.lock, self.database:
            self.database.executemany("INSERT INTO log VALUES (?)", [(json.dumps(e),) for e in events])
        body = json.dumps({"accepted": len(events)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the method that it overrides
        """Say nothing."""


def run_peer(folder: str, port: "multiprocessing.queues.Queue[int]") -> None:
    """The peer's process."""
    os.sched_setaffinity(0, {SERVER_CORE})
    Simplest.database = sqlite3.connect(f"{folder}/peer.sqlite3", check_same_thread=False)
    Simplest.database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE log (value TEXT)")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Simplest)
    port.put(server.server_address[1])
    server.serve_forever()


def measure_peer(args: argparse.Namespace, folder: Path) -> float:
    """The peer's figure."""
    queue: multiprocessing.queues.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=run_peer, args=(str(folder), queue), daemon=True)
    process.start()
    try:
        return measure(f"http://127.0.0.1:{queue.get(timeout=20)}", "", args.batch, args.seconds, args.connections)
    finally:
        process.terminate()
        process.join()


def measure_ours(args: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Our figure, and the server's CPU microseconds for each event."""
    from bench.server import running

    with running(folder, core=SERVER_CORE) as server:
        server.put("bench", {"objective": {"goal": "minimize_cost"}, "baseline": "a", "segment_by": ["category"]})
        before = server.cpu_seconds()
        rate = measure(server.url, server.token, args.batch, args.seconds, args.connections)
        cpu = server.cpu_seconds() - before
        return rate, 1e6 * cpu / (rate * args.seconds)


def main() -> int:
    """Measure both in turn, twice, and print the medians' ratio."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=float, default=8.0)
    ap.add_argument("--batch", type=int, default=100)
    ap.add_argument("--connections", type=int, default=4)
    args = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name:
        folder = Path(name)
        peer = measure_peer(args, folder)
        ours, cpu = measure_ours(args, folder)
    print(f"{'server':34} {'durable events/s':>18} {'CPU us/event':>14}")
    print(f"{'ours (validated, deduplicated, folded)':34} {ours:14,.0f} {cpu:14.1f}")
    print(f"{'simplest peer (parsed, written)':34} {peer:18,.0f} {'':>14}")
    figures = {"events_per_s": round(ours), "cpu_us_per_event": round(cpu, 1), "peer_events_per_s": round(peer)}
    print("RESULT " + json.dumps({"bench": "ingest", "batch": args.batch, **figures, "ratio": round(ours / peer, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
