"""How fast the PostgreSQL store appends, reads and commits, against plain asyncpg in the same run.

`python -m bench.storage_postgres [--events 100000]` starts a private server with scripts/services. The peer is what one
would write first: a table with a unique key, one multi-row INSERT for each batch, on plain asyncio.
"""

import argparse
import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import asyncpg
import trio

from bench.storage import fill, make_batch, read_all
from optimizer.storage import Put
from optimizer.storage.postgres import open_postgres

ROOT = Path(__file__).resolve().parents[1]
APPENDERS = 16

_q_create = "CREATE TABLE peer (n bigserial PRIMARY KEY, kind text, key text, payload bytea, dedup bytea UNIQUE)"
_q_insert = """
    INSERT INTO peer (kind, key, payload, dedup)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING
"""


def start_server() -> str:
    """The URL of a running private server."""
    program = str(ROOT / "scripts" / "services")
    done = subprocess.run([program, "up", "postgres"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    url: str = json.loads((ROOT / "var" / "services.json").read_text())["postgres"]["url"]
    return url


async def fill_peer(url: str, events: int, batch: int) -> float:
    """Events per second of plain asyncpg."""
    left = events

    async def append(pool: asyncpg.Pool) -> None:
        nonlocal left
        while left > 0:
            left -= batch
            rows = make_batch(batch)
            columns = [
                [r.kind for r in rows],
                [r.key for r in rows],
                [r.payload for r in rows],
                [r.dedup for r in rows],
            ]
            await pool.execute(_q_insert, *columns)

    async with asyncpg.create_pool(url, min_size=10, max_size=10) as pool:
        await pool.execute("DROP TABLE IF EXISTS peer")
        await pool.execute(_q_create)
        start = time.perf_counter()
        await asyncio.gather(*(append(pool) for _ in range(APPENDERS)))
        rate = (events - left) / (time.perf_counter() - start)
        await pool.execute("DROP TABLE peer")
        return rate


async def fill_ours(url: str, schema: str, events: int, batch: int) -> tuple[float, float]:
    """Events per second appended and read back."""
    async with open_postgres(url, schema=schema) as store:
        return await fill(store, events, batch, APPENDERS), await read_all(store)


async def commit_ours(url: str, schema: str, commits: int) -> float:
    """Commits of one document per second, from that many tasks."""
    async with open_postgres(url, schema=schema) as store:

        async def commit(name: str) -> None:
            for i in range(commits // APPENDERS):
                await store.commit([Put(key=name, body=b"%d" % i)])

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for n in range(APPENDERS):
                nursery.start_soon(commit, f"document-{n}")
        return commits / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events for each batch size")
    chosen = parser.parse_args()
    url, result = start_server(), {"bench": "storage_postgres", "events": chosen.events}
    print(f"\n{APPENDERS} appenders, batch of {'ours/s':>10} {'asyncpg/s':>10} {'ours read/s':>12}")
    for batch in (1, 10, 100, 1000):
        events = chosen.events if batch >= 100 else chosen.events // (100 // batch)
        peer = asyncio.run(fill_peer(url, events, batch))
        ours, reading = trio.run(fill_ours, url, f"bench_{os.getpid()}_{batch}", events, batch)
        print(f"{batch:23} {ours:10,.0f} {peer:10,.0f} {reading:12,.0f}")
        result |= {f"append_{batch}": round(ours), f"against_asyncpg_{batch}": round(ours / peer, 2)}
    commits = trio.run(commit_ours, url, f"bench_{os.getpid()}_commit", 2000)
    print(f"\ncommits of one document: {commits:,.0f}/s")
    print("RESULT", json.dumps({**result, "commits": round(commits)}))


if __name__ == "__main__":
    main()
