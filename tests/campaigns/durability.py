"""kill -9 at random instants: what was acknowledged is there once, and the store opens. One seed is one kill."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from optimizer.storage import Record, Store, open_embedded

APPENDERS = 8
KILLS_PER_STORE = 10
"""Kills of one folder in a row, so that recoveries of recovered stores are seen too."""

WRITER = """
import json, os, random, signal, sys, threading, trio
from pathlib import Path
from optimizer.storage import Cursor, Put, Record, open_embedded

folder, generation, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)

async def append(store, n):
    for turn in range(10_000):
        ids = ["%d-%d-%d-%d" % (generation, n, turn, i) for i in range(rng.choice((1, 3, 30, 300)))]
        width = rng.choice((1, 400))
        records = [Record(kind="k", key="a", payload=i.encode().ljust(width), dedup=i.encode()) for i in ids]
        await store.append(records)
        os.write(1, b"A %d %d %d\\n" % (n, turn, len(ids)))

async def commit(store):
    for turn in range(1, 10_000):
        end = await store.end()
        changes = [Put(key="a", body=b"%d" % end), Put(key="b", body=b"%d" % end)]
        await store.commit(changes, Cursor(name="fold", offset=end))
        os.write(1, b"C %d\\n" % end)

async def main():
    async with open_embedded(folder) as store, trio.open_nursery() as nursery:
        os.write(1, b"open\\n")
        threading.Timer(rng.uniform(0, 0.06), os.kill, (os.getpid(), signal.SIGKILL)).start()
        nursery.start_soon(commit, store)
        for n in range(APPENDERS):
            nursery.start_soon(append, store, n)

trio.run(main)
""".replace("APPENDERS", str(APPENDERS))


@dataclass
class Told:
    """What children said was done, over all their lives."""

    acknowledged: set[str] = field(default_factory=set)
    cursor: int = 0

    def hear(self, generation: int, output: str) -> None:
        """Note the whole lines of one child's output."""
        for line in output[: output.rfind("\n") + 1].splitlines():
            match line.split():
                case ["A", n, turn, count]:
                    self.acknowledged.update(f"{generation}-{n}-{turn}-{i}" for i in range(int(count)))
                case ["C", end]:
                    self.cursor = int(end)


def run_kills(kills: int, first_seed: int, folder: Path) -> Iterator[str]:
    """Kill that many children on stores below `folder`; every contradiction found, as a sentence with its seed."""
    told, store, acknowledged = Told(), folder, 0
    for i in range(kills):
        seed = first_seed + i
        if i % KILLS_PER_STORE == 0:
            acknowledged += len(told.acknowledged)
            told, store = Told(), folder / str(seed)
        command = [sys.executable, "-c", WRITER, str(store), str(i), str(seed)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if child.returncode != -signal.SIGKILL:
            yield f"seed {seed}: the child ended with {child.returncode}: {child.stderr}"
            continue
        told.hear(i, child.stdout)
        for problem in trio.run(examine, store, told):
            yield f"seed {seed}: {problem}"
    print(f"{kills} kills, {acknowledged + len(told.acknowledged)} acknowledged events checked")


async def examine(folder: Path, told: Told) -> list[str]:
    """Open the store and compare it with what was told."""
    async with open_embedded(folder) as store:
        return [*await _examine_log(store, told), *await _examine_documents(store, told)]


async def _examine_log(store: Store, told: Told) -> list[str]:
    seen: list[str] = []
    after = 0
    while batch := await store.read(after, 1000):
        for entry in batch:
            seen.append(entry.payload.decode().rstrip())
            if entry.offset != after + 1:
                return [f"offset {entry.offset} follows {after}"]
            after = entry.offset
    problems = []
    if missing := told.acknowledged - set(seen):
        problems.append(f"{len(missing)} acknowledged events lost, such as {min(missing)}")
    if len(seen) != len(set(seen)):
        problems.append(f"{len(seen) - len(set(seen))} events are in the log twice")
    sample = [Record(kind="k", key="a", payload=b"", dedup=i.encode()) for i in sorted(told.acknowledged)[:500]]
    if (repeated := await store.append(sample)).duplicates != len(sample):
        problems.append(f"{len(sample) - repeated.duplicates} acknowledged events were accepted again")
    return problems


async def _examine_documents(store: Store, told: Told) -> list[str]:
    a, b, cursor = await store.get("a"), await store.get("b"), await store.cursor("fold")
    bodies = {None if document is None else document.body for document in (a, b)}
    if bodies != {None if cursor == 0 and a is None else b"%d" % cursor}:
        return [f"documents {bodies} and cursor {cursor} are not of one transaction"]
    return [f"cursor {cursor} is behind the acknowledged {told.cursor}"] if cursor < told.cursor else []


def main(seeds: int) -> int:
    """Run `seeds` kills and print a line for each contradiction."""
    with tempfile.TemporaryDirectory() as folder:
        problems = list(run_kills(seeds, 0, Path(folder)))
    for problem in problems:
        print(problem)
    print("RESULT", json.dumps({"part": "durability", "kills": seeds, "failures": len(problems), "pid": os.getpid()}))
    return len(problems)
