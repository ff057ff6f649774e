"""The writer: plans a group of calls in memory, then writes them in one transaction with one fsync."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.model import Conflict, StorageUnavailable, StoreCorrupt
from optimizer.storage.dedup import fingerprint
from optimizer.storage.embedded import keys
from optimizer.storage.embedded.fingerprints import Fingerprints, encode_recent, load_fingerprints
from optimizer.storage.embedded.frames import (
    decode_document,
    decode_frame,
    encode_document,
    encode_frames,
    encode_number,
)
from optimizer.storage.embedded.mapping import Mapping, Row, Span
from optimizer.storage.intake import Answer, Append, Commit, Job
from optimizer.storage.limits import encode_name
from optimizer.storage.protocols import ANY_VERSION, Appended, Delete, Put, Record

FORMAT = 1
"""The layout that this code writes; a file with another number is refused."""

_PROBE = keys.FORMAT + b".probe"
_PROBE_BYTES = 64 * 1024  # about a small group's pages: a disk with room for it has room for work


@dataclass(slots=True)
class _Plan:
    """A group's effect before it is written: rows by key, new records in order, answers by position."""

    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    prints: list[bytes] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


class Writer:
    """Owns the writing connection. Used by one thread at a time; every call blocks. After a failure it starts anew."""

    def __init__(self, path: Path) -> None:
        """Open the file and read what writing needs. Raises: StorageUnavailable, StoreCorrupt."""
        self._path = path
        self._mapping: Mapping | None = None
        self._seen = Fingerprints()
        self.end = 0
        self.commits = 0
        self._open()

    def write(self, jobs: Sequence[Job]) -> Sequence[Answer]:
        """Serve the group; one answer for each job, on the disk when this returns.

        A conflict is the answer of its own job alone. Raises: StorageUnavailable or StoreCorrupt when nothing of the
        group is acknowledged.
        """
        mapping = self._open()
        try:
            plan = self._plan(mapping, jobs)
            rows = self._rows(plan)
            if rows or plan.rows:
                puts = [(key, value) for key, value in plan.rows.items() if value is not None]
                deletes = [(key, key + b"\x00") for key, value in plan.rows.items() if value is None]
                self._commit(mapping, rows + puts, deletes)
        except (StorageUnavailable, StoreCorrupt):
            self._give_up()
            raise
        self.end += len(plan.records)
        self._seen.recent.update(plan.prints)
        return plan.answers

    def probe(self) -> None:
        """Find out whether writing works again. Raises: StorageUnavailable, StoreCorrupt."""
        mapping = self._open()
        try:
            self._commit(mapping, [(_PROBE, bytes(_PROBE_BYTES))], [])
            self._commit(mapping, [], [(_PROBE, _PROBE + b"\x00")])
        except (StorageUnavailable, StoreCorrupt):
            self._give_up()
            raise

    @property
    def wants_maintenance(self) -> bool:
        """Whether `maintain` has something to do."""
        return self._seen.full

    def maintain(self) -> None:
        """Move fingerprints to their long-term place. Raises: StorageUnavailable, StoreCorrupt; nothing is lost."""
        mapping = self._open()
        try:
            maintenance = self._seen.plan_maintenance(mapping)
            self._commit(mapping, maintenance.puts, maintenance.deletes)
        except (StorageUnavailable, StoreCorrupt):
            self._give_up()
            raise
        self._seen.adopt(maintenance)

    def close(self) -> None:
        """Close the file. Raises: StorageUnavailable when its log could not be moved into it (it is read next time)."""
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            mapping.close()

    def _open(self) -> Mapping:
        if self._mapping is None:
            mapping = Mapping(self._path, writable=True)
            try:
                _check_format(mapping)
                self.end = _find_end(mapping)
                self._seen = load_fingerprints(mapping)
            except BaseException:
                mapping.close()
                raise
            self._mapping = mapping
        return self._mapping

    def _commit(self, mapping: Mapping, puts: Iterable[Row], deletes: Sequence[Span]) -> None:
        mapping.write(puts, deletes)
        self.commits += 1

    def _give_up(self) -> None:
        """After a failed write only the file knows what it holds: drop the connection, read everything again."""
        try:
            self.close()
        except (StorageUnavailable, StoreCorrupt):
            return  # the failure that brought us here is the one to tell

    def _plan(self, mapping: Mapping, jobs: Sequence[Job]) -> _Plan:
        plan = _Plan()
        appends = [job for job in jobs if isinstance(job, Append)]
        prints = [[None if r.dedup is None else fingerprint(r.dedup) for r in job.records] for job in appends]
        keyed = [p for of_job in prints for p in of_job if p is not None]
        known = self._seen.find(mapping, keyed)
        turns = iter(prints)
        every_new = not known and len(set(keyed)) == len(keyed)
        for job in jobs:
            if isinstance(job, Commit):
                plan.answers.append(_answer_commit(mapping, plan, job))
            elif every_new:
                first = self.end + len(plan.records) + 1
                plan.records += job.records
                plan.answers.append(Appended(tuple(range(first, first + len(job.records)))))
                next(turns)
            else:
                plan.answers.append(self._plan_append(plan, job, next(turns), known))
        if every_new:
            plan.prints = keyed
        return plan

    def _plan_append(self, plan: _Plan, job: Append, prints: Sequence[bytes | None], known: set[bytes]) -> Appended:
        offsets: list[int | None] = []
        for record, print_ in zip(job.records, prints, strict=True):
            if print_ is not None:
                if print_ in known:
                    offsets.append(None)
                    continue
                known.add(print_)
                plan.prints.append(print_)
            plan.records.append(record)
            offsets.append(self.end + len(plan.records))
        return Appended(tuple(offsets))

    def _rows(self, plan: _Plan) -> list[Row]:
        rows = list(encode_frames(self.end + 1, plan.records))
        if plan.prints:
            rows.append(encode_recent(self.end + len(plan.records), plan.prints))
        return rows


def _answer_commit(mapping: Mapping, plan: _Plan, job: Commit) -> Answer:
    """A conflict or a damaged document is this job's answer alone; its neighbours in the group go on."""
    try:
        return _plan_commit(mapping, plan, job)
    except (Conflict, StoreCorrupt) as e:
        return e


def _plan_commit(mapping: Mapping, plan: _Plan, job: Commit) -> tuple[int, ...]:
    rows: dict[bytes, bytes | None] = {}
    versions = []
    for change in job.changes:
        key = keys.document(encode_name(change.key))
        value = rows[key] if key in rows else plan.rows[key] if key in plan.rows else mapping.get(key)
        version = 0 if value is None else decode_document(key, value).version
        if change.expected not in (ANY_VERSION, version):
            raise Conflict(f"document {change.key!r} has version {version}, not {change.expected}")
        rows[key], version = _changed(key, version, change)
        versions.append(version)
    if job.cursor is not None:
        key = keys.cursor(encode_name(job.cursor.name))
        rows[key] = encode_number(key, job.cursor.offset)
    plan.rows.update(rows)
    return tuple(versions)


def _changed(key: bytes, version: int, change: Put | Delete) -> tuple[bytes | None, int]:
    if isinstance(change, Delete):
        return None, 0
    return encode_document(key, version + 1, change.body), version + 1


def _check_format(mapping: Mapping) -> None:
    """Write the format's number into a new file; refuse a file that has another one or that is somebody else's."""
    found = mapping.get(keys.FORMAT)
    if found is None:
        if mapping.last((b"", b"\xff" * 8)) is not None:
            raise StoreCorrupt(f"{mapping.path} holds data but no format number: it is not a store of this program")
        mapping.write([(keys.FORMAT, b"%d" % FORMAT)])
    elif found != b"%d" % FORMAT:
        raise StoreCorrupt(
            f"{mapping.path} has format {found.decode(errors='replace')}; this program reads format {FORMAT}"
        )


def _find_end(mapping: Mapping) -> int:
    newest = mapping.last((keys.LOG, keys.after_prefix(keys.LOG)))
    return 0 if newest is None else decode_frame(*newest).last
