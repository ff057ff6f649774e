"""What was acknowledged survives `kill -9`, and is on the disk before it is acknowledged."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.campaigns.durability import run_kills
from tests.campaigns.powercut import record, run_cuts

WRITER = """
import os, sys, trio
from pathlib import Path
from optimizer.storage import Put, Record, open_embedded

async def main():
    async with open_embedded(Path(sys.argv[1])) as store:
        for n in range(5):
            await store.append([Record(kind="k", key="a", payload=b"%d" % n, dedup=b"%d" % n)])
            os.write(1, b"ACK\\n")
            await store.commit([Put(key="a", body=b"%d" % n)])
            os.write(1, b"ACK\\n")

trio.run(main)
"""


def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    assert list(run_kills(24, 1_000_000, tmp_path)) == []


def find_strace() -> str:
    strace = shutil.which("strace")
    if strace is None:
        assert os.environ.get("CI") != "true", "strace is not installed"
        pytest.skip("strace is not installed")
    return strace


async def test_every_acknowledgement_follows_an_fsync_of_what_was_written(folder: Path, tmp_path: Path) -> None:
    strace = find_strace()
    trace = tmp_path / "trace"
    options = ["-f", "-y", "-e", "trace=pwrite64,write,fsync,fdatasync", "-o", str(trace)]
    command = [sys.executable, "-c", WRITER, str(folder)]
    await trio.run_process([strace, *options, *command], capture_stdout=True)
    unsynced, synced, acknowledged = 0, 0, 0
    for line in trace.read_text().splitlines():
        if re.search(r'write\(1[<,].*"ACK', line):
            assert unsynced == 0, f"acknowledged before the fsync: {line}"
            assert synced > 0
            acknowledged, synced = acknowledged + 1, 0
        elif re.search(r"pwrite64\(\d+<[^>]*-wal>", line):
            unsynced += 1
        elif re.search(r"f(data)?sync\(\d+<[^>]*-wal>.*= 0", line) or re.search(r"f(data)?sync resumed.*= 0", line):
            unsynced, synced = 0, synced + 1
    assert acknowledged == 10


def test_a_power_cut_at_any_write_or_sync_loses_nothing_acknowledged(tmp_path: Path) -> None:
    find_strace()
    recorded, cut = tmp_path / "recorded", tmp_path / "cut"
    events = record(recorded, 40)
    assert list(run_cuts(events, recorded, cut, step=6)) == []
    careless = [event for event in events if not (event.kind == "sync" and event.path.endswith("-wal"))]
    found = list(run_cuts(careless, recorded, cut, step=12))
    assert any("lost" in problem or "does not open" in problem for problem in found)  # the test can fail
