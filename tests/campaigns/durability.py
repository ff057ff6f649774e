"""kill -9 at random instants: what was acknowledged is there once, and the store opens. One seed is one kill."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trio

from optimizer.storage import Record, Store, open_embedded

APPENDERS = 8
KILLS_PER_STORE = 10
"""Kills of one folder in a row, so that recoveries of recovered stores are seen too."""

WRITER = """
import os, random, signal, sys, threading, trio
from pathlib import Path
from optimizer.model import StorageUnavailable
from optimizer.storage import Cursor, Put, Record, open_embedded

kind, place, schema, span, generation, seed, victim = sys.argv[1:]
rng = random.Random(int(seed))

def open_it():
    if kind == "embedded":
        return open_embedded(Path(place))
    from optimizer.storage.postgres import open_postgres
    return open_postgres(place, schema=schema)

async def append(store, n):
    for turn in range(10_000):
        ids = ["%s-%d-%d-%d" % (generation, n, turn, i) for i in range(rng.choice((1, 3, 30, 300, 600)))]
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
    async with open_it() as store, trio.open_nursery() as nursery:
        os.write(1, b"open\\n")
        threading.Timer(rng.uniform(0, float(span)), os.kill, (int(victim) or os.getpid(), signal.SIGKILL)).start()
        nursery.start_soon(commit, store)
        for n in range(APPENDERS):
            nursery.start_soon(append, store, n)

try:
    trio.run(main)
except* StorageUnavailable:
    pass  # the server was the victim
""".replace("APPENDERS", str(APPENDERS))


@dataclass(frozen=True)
class Place:
    """A store that children write to: the words that tell them which and within how many seconds the kill comes, and
    how we open it ourselves.
    """

    words: tuple[str, str, str, str]
    open: Callable[[], AbstractAsyncContextManager[Store]]


def embedded_place(folder: Path) -> Place:
    """An embedded store."""
    return Place(("embedded", str(folder), "", "0.06"), lambda: open_embedded(folder))


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
    places = (embedded_place(folder / str(i)) for i in count())
    return kill_writers(range(first_seed, first_seed + kills), places)


def kill_writers(
    seeds: Sequence[int], places: Iterator[Place], victim: Callable[[int], int] = lambda _: 0
) -> Iterator[str]:
    """A child for each seed writes and is killed, or kills `victim(seed)` (0: itself); then the store is examined."""
    told, place, acknowledged = Told(), next(places), 0
    for i, seed in enumerate(seeds):
        if i and i % KILLS_PER_STORE == 0:
            acknowledged += len(told.acknowledged)
            told, place = Told(), next(places)
        target = victim(seed)
        command = [sys.executable, "-c", WRITER, *place.words, str(i), str(seed), str(target)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if child.returncode != (0 if target else -signal.SIGKILL):
            yield f"seed {seed}: the child ended with {child.returncode}: {child.stderr}"
            continue
        told.hear(i, child.stdout)
        for problem in trio.run(examine, place, told):
            yield f"seed {seed}: {problem}"
    acknowledged += len(told.acknowledged)
    print(f"{len(seeds)} kills, {acknowledged} acknowledged events checked")
    if not acknowledged:
        yield "no child lived long enough to have anything acknowledged: nothing was proved"


async def examine(place: Place, told: Told) -> list[str]:
    """Open the store and compare it with what was told."""
    async with place.open() as store:
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
    print("RESULT", json.dumps({"part": "durability", "kills": seeds, "failures": len(problems)}))
    return len(problems)
