"""The log in PostgreSQL; every function runs on the asyncio side, inside one crossing."""

from collections.abc import Sequence
from datetime import date
from itertools import islice

from optimizer.storage.dedup import fingerprint
from optimizer.storage.intake import Append
from optimizer.storage.limits import READ_BYTES
from optimizer.storage.postgres.connections import Pool
from optimizer.storage.protocols import Appended, Entry, Record

_Row = tuple[date, int, bytes, bytes, bytes]
_COLUMNS = ("day", "position", "kind", "key", "payload")

CHANNEL = "optimizer_log"
"""Notified with the schema and the new end of the log, in the transaction that moves it."""

COPY_RECORDS = 500
"""Records from which COPY pays for its round trips: below, a group is one call of a function."""

_q_append_log = "SELECT append_log($1, $2, $3, $4, clock_timestamp())"
_q_lock_head = "SELECT first, today FROM lock_log_head(clock_timestamp())"
_q_insert_dedup = "INSERT INTO dedup SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING RETURNING print"
_q_move_head = "SELECT move_log_head($1)"
_q_read_head = "SELECT position FROM log_head"
_q_touch_head = "UPDATE log_head SET position = position"

# The running sum ends an answer that would be too large before it leaves the server. The largest day that begins at or
# before the next position prunes older partitions; within the rest, day order is position order.
_q_read_log = """
    SELECT position, kind, key, payload
    FROM (
        SELECT *, sum(octet_length(payload)) OVER (ORDER BY day, position) - octet_length(payload) AS size_before
        FROM (
            SELECT day, position, kind, key, payload
            FROM log
            WHERE position > $1
              AND day >= coalesce((SELECT max(day) FROM log_days WHERE first_position <= $1 + 1), '-infinity')
            ORDER BY day, position
            LIMIT $2
        ) AS next
    ) AS sized
    WHERE size_before < $3
    ORDER BY day, position
"""


async def append_group(pool: Pool, jobs: Sequence[Append]) -> Sequence[Appended]:
    """Append the batches in one transaction, one answer for each."""
    records = [record for job in jobs for record in job.records]
    prints = [None if record.dedup is None else fingerprint(record.dedup) for record in records]
    if len(records) < COPY_RECORDS:
        positions = await _append_few(pool, records, prints)
    else:
        positions = await _append_many(pool, records, prints)
    offsets = iter(positions)
    return [Appended(tuple(islice(offsets, len(job.records)))) for job in jobs]


async def _append_few(pool: Pool, records: Sequence[Record], prints: Sequence[bytes | None]) -> Sequence[int | None]:
    kinds, keys = [record.kind.encode() for record in records], [record.key.encode() for record in records]
    payloads = [record.payload for record in records]
    positions: Sequence[int | None] | None = await pool.fetchval(_q_append_log, kinds, keys, payloads, prints)
    return positions or ()


async def _append_many(pool: Pool, records: Sequence[Record], prints: Sequence[bytes | None]) -> Sequence[int | None]:
    keyed = sorted({print_ for print_ in prints if print_ is not None})
    async with pool.acquire() as connection, connection.transaction():
        head = await connection.fetchrow(_q_lock_head)
        fresh = {row[0] for row in await connection.fetch(_q_insert_dedup, keyed)} if keyed else set()
        positions: list[int | None] = []
        rows: list[_Row] = []
        names: dict[str, bytes] = {}
        for record, print_ in zip(records, prints, strict=True):
            if print_ is not None and print_ not in fresh:
                positions.append(None)
                continue
            fresh.discard(print_)
            position = head["first"] + len(rows)
            positions.append(position)
            kind, key = (names.setdefault(name, name.encode()) for name in (record.kind, record.key))
            rows.append((head["today"], position, kind, key, record.payload))
        if rows:
            table = f"log_{head['today']:%Y%m%d}"
            await connection.copy_records_to_table(table, records=rows, columns=_COLUMNS)
            await connection.execute(_q_move_head, rows[-1][1])
    return positions


async def read_log(pool: Pool, after: int, limit: int) -> Sequence[Entry]:
    """See `Log.read`."""
    rows = await pool.fetch(_q_read_log, min(max(after, 0), 2**62), min(limit, 2**31), READ_BYTES) if limit > 0 else ()
    return [Entry(row[0], row[1].decode(), row[2].decode(), row[3]) for row in rows]


async def read_end(pool: Pool) -> int:
    """See `Log.end`."""
    position: int = await pool.fetchval(_q_read_head)
    return position


async def touch_head(pool: Pool) -> None:
    """Write something that changes nothing."""
    await pool.execute(_q_touch_head)
