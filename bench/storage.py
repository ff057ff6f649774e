"""How fast the embedded store takes and gives records, against plain stdlib stores in the same run, and as it grows.

`python -m bench.storage [--events 1000000] [--folder DIR]`: three tables (stores side by side, batch sizes, growth) and
a RESULT line. Everything runs in one process; pin it (`taskset -c 0`) to measure one core.
"""

import argparse
import dbm.dumb
import json
import os
import resource
import sqlite3
import tempfile
import time
from pathlib import Path

import trio

from optimizer.storage import Record, Store, open_embedded, open_memory

PAYLOAD = bytes(120)
"""About what a feedback event is when it is encoded."""


def make_batch(size: int) -> list[Record]:
    """Records with random dedup keys, the worst case for an index."""
    return [Record(kind="feedback", key="svc", payload=PAYLOAD, dedup=os.urandom(16)) for _ in range(size)]


async def fill(store: Store, events: int, batch: int, appenders: int) -> float:
    """Append that many events from that many tasks; events per second."""
    left = events

    async def append() -> None:
        nonlocal left
        while left > 0:
            left -= batch
            await store.append(make_batch(batch))

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(appenders):
            nursery.start_soon(append)
    return (events - left) / (time.perf_counter() - start)


async def read_all(store: Store) -> float:
    """Read the whole log by thousands; events per second."""
    after, count, start = 0, 0, time.perf_counter()
    while entries := await store.read(after, 1000):
        after, count = entries[-1].offset, count + len(entries)
    return count / (time.perf_counter() - start)


def fill_sqlite(folder: Path, events: int, batch: int) -> float:
    """One table, one transaction for each append: what a program without group commit does. Events per second."""
    connection = sqlite3.connect(folder / "plain.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, kind TEXT, key TEXT, payload BLOB, dedup BLOB UNIQUE)")
    insert = "INSERT OR IGNORE INTO log (kind, key, payload, dedup) VALUES (?, ?, ?, ?)"
    start = time.perf_counter()
    for _ in range(events // batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, [(r.kind, r.key, r.payload, r.dedup) for r in make_batch(batch)])
        connection.execute("COMMIT")
    rate = events // batch * batch / (time.perf_counter() - start)
    connection.close()
    return rate


def fill_dumb(folder: Path, events: int, batch: int) -> float:
    """The dbm that every build of Python 3.11 has, synchronised after each append. Events per second."""
    with dbm.dumb.open(str(folder / "dumb"), "n") as mapping:
        start = time.perf_counter()
        for _ in range(events // batch):
            for record in make_batch(batch):
                mapping[record.dedup or b""] = record.payload
            mapping.sync()
        return events // batch * batch / (time.perf_counter() - start)


async def fill_embedded(folder: Path, events: int, batch: int, appenders: int) -> float:
    """Events per second into an embedded store of its own."""
    async with open_embedded(folder) as store:
        return await fill(store, events, batch, appenders)


async def fill_memory(events: int, batch: int, appenders: int) -> float:
    """Events per second into the store in memory: what the records themselves cost."""
    async with open_memory() as store:
        return await fill(store, events, batch, appenders)


def side_by_side(folder: Path, events: int) -> dict[str, float]:
    """Appends of 100 records into each store, three rounds in turn, the best of each (other work slows some)."""
    best: dict[str, float] = {}
    for i in range(3):
        place = folder / f"round-{i}"
        place.mkdir()
        rates = {
            "embedded, 64 appenders": trio.run(fill_embedded, place / "many", events, 100, 64),
            "embedded, 1 appender": trio.run(fill_embedded, place / "one", events, 100, 1),
            "memory (no disk)": trio.run(fill_memory, events, 100, 64),
            "sqlite3, a transaction each": fill_sqlite(place, events, 100),
            "dbm.dumb with sync": fill_dumb(place, min(events, 10_000), 100),
        }
        best = {name: max(rate, best.get(name, 0.0)) for name, rate in rates.items()}
    print(f"\n{'appends of 100, durable':32} {'events/s':>12}")
    for name, rate in best.items():
        print(f"{name:32} {rate:12,.0f}")
    return best


def batch_sizes(folder: Path, events: int) -> dict[int, float]:
    """Sixty-four tasks append batches of several sizes: what group commit makes of small ones."""

    counts = {1: max(events // 20, 1000), 10: events // 4, 100: events, 1000: events}
    rates = {batch: trio.run(fill_embedded, folder / f"by-{batch}", n, batch, 64) for batch, n in counts.items()}
    print(f"\n{'64 appenders, records each':32} {'events/s':>12}")
    for batch, rate in rates.items():
        print(f"{batch:32} {rate:12,.0f}")
    return rates


def growth(folder: Path, events: int) -> dict[str, float]:
    """The same rate, again and again, while the log grows; then size, opening and reading."""
    place, rates = folder / "growing", list[float]()
    heads = ("append/s", "CPU us/event", "open s", "bytes/event", "peak RSS MiB")
    print(f"\n{'events in the log':>20} " + " ".join(f"{head:>12}" for head in heads))

    async def step(part: int) -> tuple[float, float, float, int]:
        start = time.perf_counter()
        async with open_embedded(place) as store:
            opening = time.perf_counter() - start
            working = time.process_time()  # says more than the rate when other work shares the core
            rate = await fill(store, part, 100, 64)
            return rate, 1e6 * (time.process_time() - working) / part, opening, await store.end()

    opening = size = cpu = 0.0
    for _ in range(5):
        rate, cpu, opening, end = trio.run(step, events // 5)
        rates.append(rate)
        size = sum(path.stat().st_size for path in place.iterdir()) / end
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{end:20,} {rate:12,.0f} {cpu:12.2f} {opening:12.3f} {size:12.1f} {peak:12.0f}")

    async def read() -> float:
        async with open_embedded(place) as store:
            return await read_all(store)

    reading = trio.run(read)
    print(f"\nread by 1000 {reading:,.0f} events/s; payload {len(PAYLOAD)} bytes of the {size:.1f} an event costs")
    return {
        "first": rates[0],
        "last": rates[-1],
        "cpu_us": cpu,
        "open_s": opening,
        "bytes_per_event": size,
        "read": reading,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="size of the growing log")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (default: a temporary folder here)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder or Path.cwd()) as name:
        folder = Path(name)
        rates = side_by_side(folder, 100_000)
        sizes = batch_sizes(folder, 200_000)
        grown = growth(folder, chosen.events)
    result = {
        "bench": "storage",
        "events": chosen.events,
        "append_100x64": round(rates["embedded, 64 appenders"]),
        "against_sqlite3": round(rates["embedded, 64 appenders"] / rates["sqlite3, a transaction each"], 2),
        "against_dumb": round(rates["embedded, 64 appenders"] / rates["dbm.dumb with sync"], 1),
        "append_1x64": round(sizes[1]),
        "append_1000x64": round(sizes[1000]),
        **{name: round(value, 3) for name, value in grown.items()},
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
