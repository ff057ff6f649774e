"""The log in PostgreSQL; every function runs on the asyncio side, inside one crossing."""

from collections.abc import Sequence
from datetime import date

from optimizer.storage.dedup import fingerprint
from optimizer.storage.intake import Append
from optimizer.storage.limits import READ_BYTES
from optimizer.storage.postgres.connections import Connection, Pool
from optimizer.storage.protocols import Appended, Entry, Record

CHANNEL = "optimizer_log"
"""Notified with the new end of the log, in the transaction that moves it (channels are per database: the schema is
part of the payload)."""

_q_lock_head = """
    SELECT position, day, greatest(day, (now() AT TIME ZONE 'utc')::date) AS today FROM log_head FOR UPDATE
"""
_q_move_head = "UPDATE log_head SET position = $1, day = $2"
_q_read_head = "SELECT position FROM log_head"
_q_insert_dedup = "INSERT INTO dedup SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING RETURNING print"
_q_notify = "SELECT pg_notify($1, current_schema() || ' ' || $2::text)"
_q_insert_day = "INSERT INTO log_days (day, first_position) VALUES ($1, $2)"
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
    """Append the batches in one transaction: lock the head, find the duplicates, COPY, notify."""
    prints = [[None if r.dedup is None else fingerprint(r.dedup) for r in job.records] for job in jobs]
    keyed = sorted({p for of_job in prints for p in of_job if p is not None})
    async with pool.acquire() as connection, connection.transaction():
        head = await connection.fetchrow(_q_lock_head)
        fresh = {row[0] for row in await connection.fetch(_q_insert_dedup, keyed)} if keyed else set()
        new: list[Record] = []
        answers = []
        for job, of_job in zip(jobs, prints, strict=True):
            offsets: list[int | None] = []
            for record, print_ in zip(job.records, of_job, strict=True):
                if print_ is not None:
                    if print_ not in fresh:
                        offsets.append(None)
                        continue
                    fresh.remove(print_)
                new.append(record)
                offsets.append(head["position"] + len(new))
            answers.append(Appended(tuple(offsets)))
        if new:
            await _write(connection, head, new)
    return answers


async def _write(connection: Connection, head: Connection, new: Sequence[Record]) -> None:
    first, today = head["position"] + 1, head["today"]
    if today != head["day"]:
        await _begin_day(connection, today, first)
    names: dict[str, bytes] = {}
    rows = [
        (today, position, names.setdefault(r.kind, r.kind.encode()), names.setdefault(r.key, r.key.encode()), r.payload)
        for position, r in enumerate(new, first)
    ]
    await connection.copy_records_to_table(
        f"log_{today:%Y%m%d}", records=rows, columns=("day", "position", "kind", "key", "payload")
    )
    last = first + len(new) - 1
    await connection.execute(_q_move_head, last, today)
    await connection.execute(_q_notify, CHANNEL, str(last))


async def _begin_day(connection: Connection, day: date, first: int) -> None:
    """A partition for the day. ATTACH lets readers go on; CREATE ... PARTITION OF would stop them for a moment."""
    name = f"log_{day:%Y%m%d}"
    await connection.execute(f"CREATE TABLE {name} (LIKE log INCLUDING ALL)")
    span = f"FROM ('{day}') TO ('{date.fromordinal(day.toordinal() + 1)}')"
    await connection.execute(f"ALTER TABLE log ATTACH PARTITION {name} FOR VALUES {span}")
    await connection.execute(_q_insert_day, day, first)


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
