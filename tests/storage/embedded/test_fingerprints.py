"""Deduplication for ever: through runs, merges and restarts, against a plain set."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from optimizer.model import StoreCorrupt
from optimizer.storage import Record, open_embedded
from optimizer.storage.dedup import fingerprint
from optimizer.storage.embedded import fingerprints
from optimizer.storage.embedded.bloom import PRINT, build_filter, filter_bits, maybe_known
from optimizer.storage.embedded.fingerprints import load_fingerprints
from optimizer.storage.embedded.mapping import Mapping


def prints(start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.frombuffer(b"".join(fingerprint(b"%d" % i) for i in range(start, start + count)), dtype=PRINT)


def test_a_filter_knows_all_of_its_own_and_few_others() -> None:
    own = prints(0, 20_000)
    bits = build_filter([own[:7_000], own[7_000:]], len(own))
    assert 8 * len(bits) == filter_bits(len(own)) == 2**19
    assert maybe_known(bits, own).tolist() == list(range(len(own)))
    assert len(maybe_known(bits, prints(20_000, 20_000))) < 20_000 * 0.001
    assert len(maybe_known(bits, prints(0, 0))) == 0


@pytest.mark.parametrize("count", [1, 2, 8, 9, 1000])
def test_the_filter_of_few_keys_has_at_least_one_byte(count: int) -> None:
    bits = build_filter([prints(0, count)], count)
    assert len(bits) >= 1
    assert len(maybe_known(bits, prints(0, count))) == count


@pytest.mark.parametrize("seed", range(2))
async def test_runs_and_merges_forget_nothing_and_invent_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(fingerprints, "RUN_KEYS", 40)
    monkeypatch.setattr(fingerprints, "MERGE_RUNS", 3)
    rng, known = Random(seed), set[int]()
    for _ in range(4):
        async with open_embedded(folder) as store:
            for _ in range(40):
                batch = [rng.randrange(2_000) for _ in range(rng.randrange(1, 30))]
                got = await store.append([Record(kind="k", key="a", payload=b"", dedup=b"%d" % n) for n in batch])
                for n, offset in zip(batch, got.offsets, strict=True):
                    assert (offset is None) == (n in known)
                    known.add(n)
            assert await store.end() == len(known)
    mapping = Mapping(folder / "store.sqlite3", writable=False)
    loaded = load_fingerprints(mapping)
    mapping.close()
    assert any(not run.small for run in loaded.runs)
    assert sum(run.count for run in loaded.runs) + len(loaded.recent) == len(known)


async def test_a_real_run_is_found_after_reopening(folder: Path) -> None:
    def batch(start: int) -> list[Record]:
        return [Record(kind="k", key="a", payload=b"", dedup=b"%d" % i) for i in range(start, start + 10_000)]

    total = fingerprints.RUN_KEYS // 10_000 + 2
    async with open_embedded(folder) as store:
        for i in range(total):
            assert (await store.append(batch(10_000 * i))).duplicates == 0
    async with open_embedded(folder) as store:
        for i in (0, total // 2, total - 1):
            assert (await store.append(batch(10_000 * i))).duplicates == 10_000
        assert (await store.append(batch(10_000 * total))).duplicates == 0


async def test_a_damaged_bucket_refuses_the_append_that_needs_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "RUN_KEYS", 10)
    batch = [Record(kind="k", key="a", payload=b"", dedup=b"%d" % i) for i in range(10)]
    async with open_embedded(folder) as store:
        await store.append(batch)
        await store.append([Record(kind="k", key="a", payload=b"")])  # the next write moves full sets into a run
    mapping = Mapping(folder / "store.sqlite3", writable=True)
    rows = list(mapping.rows((b"H", b"I")))
    mapping.write([(key, value[:-1] + bytes([value[-1] ^ 1])) for key, value in rows])
    mapping.close()
    async with open_embedded(folder) as store:
        with pytest.raises(StoreCorrupt, match="damaged"):
            await store.append(batch)
        assert await store.end() == 11
