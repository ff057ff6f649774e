"""The file and its folder: the format of `dbm.sqlite3`, private modes, the lock, other formats, damage."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from optimizer.model import StorageUnavailable, StoreCorrupt, StoreLocked
from optimizer.storage import Cursor, Put, Record, open_embedded
from optimizer.storage.embedded.store import FILE_NAME

EVENTS = [Record(kind="feedback", key="svc", payload=b"payload %d" % i, dedup=b"%d" % i) for i in range(20)]


async def fill(folder: Path) -> None:
    async with open_embedded(folder) as store:
        await store.append(EVENTS)
        await store.commit([Put(key="doc", body=b"body")], Cursor(name="fold", offset=7))


def find_python_with_dbm_sqlite3() -> str | None:
    candidates = [sys.executable, shutil.which("python3.13"), shutil.which("python3.14")]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.1[3-9]*/bin/python"))]
    for python in candidates:
        if python and subprocess.run([python, "-c", "import dbm.sqlite3"], capture_output=True).returncode == 0:
            return python
    return None


async def test_the_file_has_the_table_of_dbm_sqlite3_and_nothing_else(folder: Path) -> None:
    await fill(folder)
    connection = sqlite3.connect(folder / FILE_NAME)
    tables = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    values = connection.execute("SELECT typeof(key), typeof(value) FROM Dict GROUP BY 1, 2").fetchall()
    connection.close()
    assert tables == [("Dict", "CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")]
    assert values == [("blob", "blob")]


async def test_python_s_own_dbm_reads_the_file(folder: Path) -> None:
    await fill(folder)
    python = find_python_with_dbm_sqlite3()
    if python is None:
        assert os.environ.get("CI") != "true", "no Python with dbm.sqlite3 (3.13 or newer)"
        pytest.skip("no Python with dbm.sqlite3 (3.13 or newer) on this machine")
    script = (
        "import dbm.sqlite3, sys\n"
        "with dbm.sqlite3.open(sys.argv[1], 'r') as d:\n"
        "    print(sorted(k[:1].decode() for k in d.keys()), d[b'Ddoc'][12:].decode(), d[b'Mformat'].decode())\n"
    )
    done = await trio.run_process([python, "-c", script, str(folder / FILE_NAME)], capture_stdout=True)
    assert done.stdout.decode().strip() == "['C', 'D', 'L', 'M', 'N'] body 1"


async def test_only_the_owner_can_read_what_is_stored(folder: Path) -> None:
    async with open_embedded(folder) as store:
        await store.append(EVENTS)
        found = modes(folder)
    assert found.pop(folder.name) == 0o700
    assert {FILE_NAME, f"{FILE_NAME}-wal", "lock"} <= set(found)
    assert set(found.values()) == {0o600}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}


async def test_closing_leaves_one_file_with_everything(folder: Path) -> None:
    await fill(folder)
    assert set(modes(folder)) == {folder.name, "lock", FILE_NAME}
    async with open_embedded(folder) as store:
        assert await store.end() == 20
        assert [e.payload for e in await store.read(0, 100)] == [r.payload for r in EVENTS]


async def test_a_log_left_by_a_crash_is_recovered(folder: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    async with open_embedded(folder) as store:
        await store.append(EVENTS)
        shutil.copytree(folder, crashed)  # what a power cut now would leave
    (crashed / f"{FILE_NAME}-shm").unlink()
    assert (crashed / f"{FILE_NAME}-wal").stat().st_size > 0
    async with open_embedded(crashed) as store:
        assert (await store.append(EVENTS)).duplicates == 20
        assert await store.end() == 20


async def test_a_second_opening_is_refused_and_says_where_and_by_whom(folder: Path) -> None:
    async with open_embedded(folder) as store:
        with pytest.raises(StoreLocked, match=rf"{folder}.*process {os.getpid()}"):
            async with open_embedded(folder):
                pass
        assert (await store.append(EVENTS)).duplicates == 0
    async with open_embedded(folder):
        pass


async def test_another_process_is_refused_too(folder: Path) -> None:
    script = (
        "import sys, trio\nfrom pathlib import Path\nfrom optimizer.storage import open_embedded\n"
        "async def main():\n    async with open_embedded(Path(sys.argv[1])): pass\n"
        "trio.run(main)\n"
    )
    async with open_embedded(folder):
        command = [sys.executable, "-c", script, str(folder)]
        done = await trio.run_process(command, capture_stderr=True, check=False)
    assert done.returncode == 1
    assert f"StoreLocked: the store in {folder} is in use by process {os.getpid()}" in done.stderr.decode()


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


async def test_another_format_is_refused(folder: Path) -> None:
    await fill(folder)
    change(folder / FILE_NAME, "UPDATE Dict SET value = ? WHERE key = ?", b"99", b"Mformat")
    with pytest.raises(StoreCorrupt, match=r"has format 99; this program reads format 1"):
        async with open_embedded(folder):
            pass


async def test_somebody_else_s_mapping_is_refused(folder: Path) -> None:
    await fill(folder)
    change(folder / FILE_NAME, "DELETE FROM Dict WHERE key = ?", b"Mformat")
    with pytest.raises(StoreCorrupt, match="not a store of this program"):
        async with open_embedded(folder):
            pass


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / FILE_NAME).write_bytes(b"something else entirely " * 100)
    with pytest.raises(StoreCorrupt):
        async with open_embedded(folder):
            pass
    assert (folder / FILE_NAME).read_bytes() == b"something else entirely " * 100


@pytest.mark.parametrize("position", [0, 5, 40, -1])
async def test_a_damaged_frame_is_never_served(folder: Path, position: int) -> None:
    async with open_embedded(folder) as store:
        await store.append(EVENTS[:10])
        await store.append(EVENTS[10:])
    damage(folder, b"L", position)
    async with open_embedded(folder) as store:
        with pytest.raises(StoreCorrupt, match="damaged"):
            await store.read(0, 100)
        assert [e.offset for e in await store.read(10, 100)] == list(range(11, 21))


def damage(folder: Path, prefix: bytes, position: int) -> None:
    """Flip one bit in the first value whose key starts so."""
    connection = sqlite3.connect(folder / FILE_NAME)
    row = connection.execute("SELECT key, value FROM Dict WHERE key >= ? ORDER BY key LIMIT 1", (prefix,)).fetchone()
    connection.close()
    value = bytearray(row[1])
    value[position] ^= 0x10
    change(folder / FILE_NAME, "UPDATE Dict SET value = ? WHERE key = ?", bytes(value), row[0])


async def test_a_damaged_newest_frame_refuses_to_open(folder: Path) -> None:
    await fill(folder)
    damage(folder, b"L", 9)
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with open_embedded(folder):
            pass


async def test_a_damaged_document_cursor_or_dedup_row_is_found_out(folder: Path) -> None:
    await fill(folder)
    damage(folder, b"D", 14)
    damage(folder, b"C", 6)
    async with open_embedded(folder) as store:
        for ask in (store.get("doc"), store.scan(""), store.cursor("fold")):
            with pytest.raises(StoreCorrupt, match="damaged"):
                await ask
        with pytest.raises(StoreCorrupt, match="damaged"):
            await store.commit([Put(key="doc", body=b"new")])
        assert await store.commit([Put(key="other", body=b"new")]) == (1,)
    damage(folder, b"N", 6)
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with open_embedded(folder):
            pass


async def test_a_missing_frame_is_found_out(folder: Path) -> None:
    async with open_embedded(folder) as store:
        for i in range(3):
            await store.append(EVENTS[5 * i : 5 * i + 5])
    change(folder / FILE_NAME, "DELETE FROM Dict WHERE key = ?", b"L" + (10).to_bytes(8, "big"))
    async with open_embedded(folder) as store:
        with pytest.raises(StoreCorrupt, match="between offsets 5 and 11"):
            await store.read(0, 100)
        with pytest.raises(StoreCorrupt, match="between offsets 5 and 11"):
            await store.read(5, 100)


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable, match="store folder"):
        async with open_embedded(tmp_path / "file" / "store"):
            pass


def test_a_read_only_folder_is_unavailable(tmp_path: Path) -> None:
    script = (
        "import os, sys, sqlite3, trio, encodings.idna\nfrom pathlib import Path\n"
        "from optimizer.storage import open_embedded\nfrom optimizer.model import StorageUnavailable\n"
        "async def main():\n"
        "    try:\n"
        "        async with open_embedded(Path(sys.argv[1])): print('opened')\n"
        "    except StorageUnavailable as e: print(e)\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root writes anywhere
        "trio.run(main)\n"
    )
    read_only = tmp_path / "read-only"
    read_only.mkdir(mode=0o500)
    for path in [tmp_path, *tmp_path.parents][:-2]:
        if path.owner() == "root" and os.getuid() == 0 and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, str(read_only)], capture_output=True, text=True)
    assert "Permission denied" in done.stdout, done.stderr
