"""Power cuts, simulated: every prefix of what the embedded store really wrote and synced, replayed on a careless disk.

`strace` records the writes, syncs and name changes of a child, and its acknowledgements. A cut keeps what was synced
before it; of what was not, it keeps nothing, everything, or a random choice of 512-byte sectors, and of the unsynced
name changes a prefix. The store must open, and hold all that was acknowledged before the cut, once. One seed is one
operation of the child; every prefix is tried.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from tests.campaigns.durability import Told, embedded_place, examine

SECTOR = 512

CHILD = """
import os, random, sys, trio
from pathlib import Path
from optimizer.storage import Cursor, Put, Record, open_embedded
from optimizer.storage.embedded import fingerprints, mapping

mapping._PRAGMAS = tuple(p.replace("autocheckpoint = 4096", "autocheckpoint = 30") for p in mapping._PRAGMAS)
fingerprints.RUN_KEYS, fingerprints.MERGE_RUNS = 500, 2
rng = random.Random(7)

async def work(store, n, turns):
    for turn in range(turns):
        if rng.random() < 0.3:
            end = await store.end()
            changes = [Put(key="a", body=b"%d" % end), Put(key="b", body=b"%d" % end)]
            await store.commit(changes, Cursor(name="fold", offset=end))
            os.write(1, b"C %d\\n" % end)
        else:
            ids = ["0-%d-%d-%d" % (n, turn, i) for i in range(rng.choice((1, 2, 40)))]
            await store.append([Record(kind="k", key="a", payload=i.encode(), dedup=i.encode()) for i in ids])
            os.write(1, b"A %d %d %d\\n" % (n, turn, len(ids)))

async def main():
    async with open_embedded(Path(sys.argv[1])) as store, trio.open_nursery() as nursery:
        for n in range(2):
            nursery.start_soon(work, store, n, int(sys.argv[2]) // 2)

trio.run(main)
"""


@dataclass(frozen=True)
class Event:
    """One system call: `write` (data at an offset), `truncate` (to an offset), `sync`, `create`, `unlink`, or `say`."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""


def record(folder: Path, operations: int) -> list[Event]:
    """Run a child on a store in `folder` and return what it did to it."""
    trace = folder.with_suffix(".trace")
    options = ["-f", "-y", "-xx", "-s", "100000000", "-o", str(trace)]
    calls = "trace=openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink"
    command = ["strace", *options, "-e", calls, sys.executable, "-c", CHILD, str(folder), str(operations)]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return list(parse(trace, folder))


def parse(trace: Path, folder: Path) -> Iterator[Event]:
    """The events of a trace that concern the folder. A write counts from its begin, a sync from its end."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        process, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>")
            if call.startswith(("write", "pwrite64")):
                yield from _events(begun[process], folder)
            continue
        if resumed := re.match(r"<\.\.\. (\w+) resumed>(.*)", call):
            call = begun.pop(process) + resumed[2]
            if call.startswith(("write", "pwrite64")):
                continue
        if not re.search(r"= -1 ", call):
            yield from _events(call, folder)


def _events(call: str, folder: Path) -> Iterator[Event]:
    name, _, arguments = call.partition("(")
    strings = [bytes.fromhex(found.replace("\\x", "")) for found in re.findall(r"(?:\\x[0-9a-f]{2})+", arguments)]
    if not strings or name not in ("openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "unlink"):
        return
    if name == "write":
        if arguments.startswith("1<") and strings[1][:2] in (b"A ", b"C "):
            yield Event("say", "", data=strings[1])
        return
    path = strings[1 if name == "openat" else 0].decode()
    if not path.startswith(str(folder)) or path.endswith(("-shm", "/lock")):
        return
    if name == "openat":
        if "O_CREAT" in arguments:
            yield Event("create", path)
    elif name == "pwrite64":
        yield Event("write", path, int(re.findall(r", (\d+)\)?", arguments)[-1]), strings[1])
    elif name == "ftruncate":
        yield Event("truncate", path, int(re.findall(r", (\d+)", arguments)[-1]))
    else:
        yield Event("unlink" if name == "unlink" else "sync", path)


@dataclass
class File:
    """A file's content on the disk, and the changes that are not there for certain."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        """Everything is on the disk."""
        for event in self.pending:
            _apply(self.synced, event)
        self.pending.clear()

    def cut(self, rng: Random, mode: str) -> bytes:
        """What is there after the power went."""
        content = bytearray(self.synced)
        for event in self.pending if mode != "nothing" else ():
            if mode == "everything":
                _apply(content, event)
            elif event.kind == "truncate":
                if rng.random() < 0.5:
                    _apply(content, event)
            else:
                _apply_some(content, event, rng)
        return bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    content.extend(bytes(max(event.offset - len(content), 0)))
    content[event.offset : event.offset + len(event.data)] = event.data


def _apply_some(content: bytearray, event: Event, rng: Random) -> None:
    start, end = event.offset, event.offset + len(event.data)
    for sector in range(start // SECTOR, (end - 1) // SECTOR + 1):
        low, high = max(start, sector * SECTOR), min(end, (sector + 1) * SECTOR)
        if rng.random() < 0.5:
            _apply(content, Event("write", event.path, low, event.data[low - start : high - start]))


class Disk:
    """Files by name, as the running program sees them and as the disk has them for certain."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.synced_names: dict[str, File] = {}
        self.pending_names: list[tuple[str, File | None]] = []

    def do(self, event: Event, folder: Path) -> None:
        """Follow one event."""
        if event.kind == "create" and event.path not in self.names:
            self._name(event.path, File())
        elif event.kind == "unlink" and event.path in self.names:
            self._name(event.path, None)
        elif event.kind == "sync" and event.path == str(folder):
            self.synced_names = dict(self.names)
            self.pending_names.clear()
        elif event.kind == "sync":
            self.names[event.path].sync()
        elif event.kind in ("write", "truncate"):
            self.names[event.path].pending.append(event)

    def _name(self, path: str, file: File | None) -> None:
        self.pending_names.append((path, file))
        if file is None:
            del self.names[path]
        else:
            self.names[path] = file

    def cut(self, rng: Random, folder: Path) -> None:
        """Write what is there after the power went into `folder`."""
        names = dict(self.synced_names)
        for path, file in self.pending_names[: rng.randrange(len(self.pending_names) + 1)]:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
        mode = rng.choice(("nothing", "everything", "some", "some"))
        folder.mkdir()
        for path, file in names.items():
            (folder / Path(path).name).write_bytes(file.cut(rng, mode))


def run_cuts(events: Sequence[Event], original: Path, scratch: Path, step: int = 1) -> Iterator[str]:
    """Cut after every `step`-th event; every contradiction found, as a sentence."""
    disk, told, cuts = Disk(), Told(), 0
    for i, event in enumerate(events):
        if event.kind == "say":
            told.hear(0, event.data.decode())
        else:
            disk.do(event, original)
        if i % step == 0:
            cuts += 1
            disk.cut(Random(i), scratch)
            try:
                problems = trio.run(examine, embedded_place(scratch), told)
            except Exception as e:  # noqa: BLE001 - whatever it is, the store did not survive this cut
                problems = [f"the store does not open: {e!r}"]
            yield from (
                f"cut after event {i} ({event.kind} {Path(event.path).name}): {problem}" for problem in problems
            )
            shutil.rmtree(scratch)
    kinds = {event.kind for event in events}
    if kinds != {"create", "write", "truncate", "sync", "unlink", "say"}:
        yield f"the recording has only {sorted(kinds)}: it does not prove what it should"
    print(f"{cuts} power cuts, {len(told.acknowledged)} acknowledged events")


def main(seeds: int) -> int:
    """Record `seeds` operations and cut after every event of theirs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = record(folder / "recorded", seeds)
        problems = list(run_cuts(events, folder / "recorded", folder / "cut"))
    for problem in problems:
        print(problem)
    print(
        "RESULT", json.dumps({"part": "powercut", "operations": seeds, "cuts": len(events), "failures": len(problems)})
    )
    return len(problems)
