"""Which dedup keys were ever appended: exact for ever, in little memory, and at a cost that does not grow with the log.

One index row for each event would be the simple way. But keys are random, so a commit of 6,000 events would rewrite as
many index pages (4 KiB for each event, twice with the checkpoint). Instead new fingerprints lie in a set in memory and
in one row for each commit; 131,072 of them become a run, hashed into buckets and never changed again; eight runs become
one large run. A look-up asks each run's filter, which is in memory, and reads a bucket when the filter says "perhaps".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from optimizer.model import StoreCorrupt
from optimizer.storage.dedup import PRINT_BYTES
from optimizer.storage.embedded import keys
from optimizer.storage.embedded.bloom import PRINT, Bits, Prints, build_filter, filter_bits, maybe_known
from optimizer.storage.embedded.frames import seal, unseal
from optimizer.storage.embedded.mapping import Mapping, Row, Span

RUN_KEYS = 131_072
"""Fingerprints that become a run: about 13 MB while they are in memory, and 10 ms to read when the store opens."""

MERGE_RUNS = 8
"""Small runs that become a large one of a million: a pause of some 0.3 s for a million events."""

_WIDTH = PRINT_BYTES
_SMALL_BITS, _LARGE_BITS = 9, 12
"""Buckets of a run, as a power of two: 256 fingerprints (4 KiB, one page) in each."""


class _Described(msgspec.Struct, array_like=True, frozen=True):
    """A run's own row: 2 to the power of `bits` buckets, `count` fingerprints."""

    bits: int
    count: int


@dataclass(frozen=True, slots=True)
class Run:
    """A set of fingerprints on disk; `filter` is its Bloom filter."""

    number: int
    bits: int
    count: int
    filter: Bits

    @property
    def small(self) -> bool:
        """Whether it waits to be merged with others."""
        return self.bits == _SMALL_BITS


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What one transaction writes (reading what it then removes), and the runs that there are once it is committed."""

    puts: Iterable[Row]
    deletes: Sequence[Span]
    runs: tuple[Run, ...]


@dataclass(slots=True)
class Fingerprints:
    """All fingerprints: `recent` are in memory, the others in the runs."""

    recent: set[bytes] = field(default_factory=set)
    runs: tuple[Run, ...] = ()

    @property
    def full(self) -> bool:
        """Whether `maintain` has something to do."""
        return len(self.recent) >= RUN_KEYS or _small(self.runs) >= MERGE_RUNS

    def find(self, mapping: Mapping, prints: Sequence[bytes]) -> set[bytes]:
        """Those that are known. Raises: StorageUnavailable, StoreCorrupt."""
        known = self.recent.intersection(prints)
        if self.runs and prints:
            numbers = np.frombuffer(b"".join(prints), dtype=PRINT)
            for run in self.runs:
                for i in maybe_known(run.filter, numbers).tolist():
                    if _contains(mapping, run, prints[i]):
                        known.add(prints[i])
        return known

    def plan_maintenance(self, mapping: Mapping) -> Maintenance:
        """Move the recent ones into a run, or, when there are many small runs, those into a large one."""
        number = max((run.number for run in self.runs), default=0) + 1
        if len(self.recent) >= RUN_KEYS:
            prints = np.frombuffer(b"".join(self.recent), dtype=PRINT)
            run = Run(number, _SMALL_BITS, len(prints), build_filter([prints], len(prints)))
            return Maintenance(_rows(run, [prints]), [_span(keys.RECENT)], (*self.runs, run))
        small = [run for run in self.runs if run.small]
        count = sum(run.count for run in small)
        bits = build_filter(_merged(mapping, small), count)  # reads all once: less memory than keeping a million
        run = Run(number, _LARGE_BITS, count, bits)
        deletes = [span for old in small for span in _spans_of(old.number)]
        others = tuple(old for old in self.runs if not old.small)
        return Maintenance(_rows(run, _merged(mapping, small)), deletes, (*others, run))

    def adopt(self, done: Maintenance) -> None:
        """The maintenance is committed."""
        if _small(done.runs) > _small(self.runs):
            self.recent = set()
        self.runs = done.runs


def load_fingerprints(mapping: Mapping) -> Fingerprints:
    """What the file holds. Raises: StorageUnavailable, StoreCorrupt."""
    recent: set[bytes] = set()
    for key, value in mapping.rows(_span(keys.RECENT)):
        body = unseal(key, value)
        recent.update(body[i : i + _WIDTH] for i in range(0, len(body), _WIDTH))
    runs = []
    for key, value in mapping.rows(_span(keys.RUN)):
        number = int.from_bytes(key[1:], "big")
        described = msgspec.msgpack.decode(unseal(key, value), type=_Described)
        at = keys.filter_of(number)
        bits = np.frombuffer(unseal(at, mapping.get(at) or b""), dtype=np.uint8)
        if 8 * len(bits) != filter_bits(described.count):
            raise StoreCorrupt(f"run {number} of dedup keys has a filter of another size")
        runs.append(Run(number, described.bits, described.count, bits))
    return Fingerprints(recent, tuple(runs))


def encode_recent(last: int, prints: Sequence[bytes]) -> Row:
    """The row that keeps an append's fingerprints until they move into a run."""
    key = keys.recent(last)
    return key, seal(key, b"".join(prints))


def _rows(run: Run, parts: Iterable[Prints]) -> Iterator[Row]:
    """The rows of a run whose fingerprints come in parts, each with the whole of some buckets, in their order."""
    described = msgspec.msgpack.encode(_Described(run.bits, run.count))
    for key, value in ((keys.run(run.number), described), (keys.filter_of(run.number), run.filter.tobytes())):
        yield key, seal(key, value)
    for part in parts:
        if not len(part):
            continue
        high = part["high"].astype(np.uint64)
        order = np.argsort(high)
        body = part[order].tobytes()
        buckets = high[order] >> np.uint64(64 - run.bits)
        indexes, starts = np.unique(buckets, return_index=True)
        ends = [*starts[1:].tolist(), len(part)]
        for index, start, end in zip(indexes.tolist(), starts.tolist(), ends, strict=True):
            key = keys.bucket(run.number, index)
            yield key, seal(key, body[_WIDTH * start : _WIDTH * end])


def _merged(mapping: Mapping, runs: Sequence[Run]) -> Iterator[Prints]:
    """The fingerprints of small runs, bucket by bucket."""
    for index in range(1 << _SMALL_BITS):
        bodies = [_bucket(mapping, run, index) for run in runs]
        yield np.frombuffer(b"".join(bodies), dtype=PRINT)


def _bucket(mapping: Mapping, run: Run, index: int) -> bytes:
    key = keys.bucket(run.number, index)
    value = mapping.get(key)
    return b"" if value is None else unseal(key, value)


def _contains(mapping: Mapping, run: Run, print_: bytes) -> bool:
    body = _bucket(mapping, run, int.from_bytes(print_[:8], "big") >> (64 - run.bits))
    at = body.find(print_)
    while at >= 0 and at % _WIDTH:  # the end of one and the beginning of the next
        at = body.find(print_, at + 1)
    return at >= 0


def _spans_of(number: int) -> list[Span]:
    suffix = number.to_bytes(4, "big")
    return [_span(prefix + suffix) for prefix in (keys.RUN, keys.FILTER, keys.BUCKET)]


def _span(prefix: bytes) -> Span:
    return prefix, keys.after_prefix(prefix)


def _small(runs: Sequence[Run]) -> int:
    return sum(run.small for run in runs)
