"""Documents and cursors in PostgreSQL; every function runs on the asyncio side, inside one crossing."""

from collections.abc import Sequence

from optimizer.model import Conflict
from optimizer.storage.limits import encode_name
from optimizer.storage.postgres.connections import Connection, Pool
from optimizer.storage.postgres.errors import Again
from optimizer.storage.protocols import ANY_VERSION, Cursor, Delete, Document, Put

_q_get_document = "SELECT version, body FROM documents WHERE key = $1"
_q_scan_documents = """
    SELECT key, version, body FROM documents
    WHERE key >= $1 AND key > $2 AND ($3::bytea IS NULL OR key < $3)
    ORDER BY key LIMIT $4
"""
_q_lock_documents = "SELECT key, version FROM documents WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE"
_q_insert_documents = """
    INSERT INTO documents (key, version, body)
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) ON CONFLICT (key) DO NOTHING
"""
_q_update_documents = """
    UPDATE documents SET version = new.version, body = new.body
    FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS new (key, version, body)
    WHERE documents.key = new.key
"""
_q_delete_documents = "DELETE FROM documents WHERE key = ANY($1::bytea[])"
_q_set_cursor = """
    INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position
"""
_q_get_cursor = "SELECT position FROM cursors WHERE name = $1"

_Changed = dict[bytes, tuple[int, bytes] | None]


async def get_document(pool: Pool, key: str) -> Document | None:
    """See `Documents.get`."""
    row = await pool.fetchrow(_q_get_document, encode_name(key))
    return None if row is None else Document(key, row["version"], row["body"])


async def scan_documents(pool: Pool, prefix: str, after: str, limit: int) -> Sequence[Document]:
    """See `Documents.scan`."""
    if limit <= 0:
        return []
    start, end = encode_name(prefix), _after_prefix(encode_name(prefix))
    rows = await pool.fetch(_q_scan_documents, start, encode_name(after), end, limit)
    return [Document(row["key"].decode(), row["version"], row["body"]) for row in rows]


async def get_cursor(pool: Pool, name: str) -> int:
    """See `Documents.cursor`."""
    return await pool.fetchval(_q_get_cursor, encode_name(name)) or 0


async def commit_documents(pool: Pool, changes: Sequence[Put | Delete], cursor: Cursor | None) -> tuple[int, ...]:
    """See `Documents.commit`. Raises: Conflict; Again when a document appeared between looking and writing."""
    keys = sorted({encode_name(change.key) for change in changes})
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_q_lock_documents, keys) if keys else ()
        found = {row["key"]: row["version"] for row in rows}
        versions, changed = _plan(changes, found)
        await _write(connection, found, changed)
        if cursor is not None:
            await connection.execute(_q_set_cursor, encode_name(cursor.name), cursor.offset)
    return versions


def _plan(changes: Sequence[Put | Delete], found: dict[bytes, int]) -> tuple[tuple[int, ...], _Changed]:
    current = dict(found)
    changed: _Changed = {}
    versions = []
    for change in changes:
        key = encode_name(change.key)
        version = current.get(key, 0)
        if change.expected not in (ANY_VERSION, version):
            raise Conflict(f"document {change.key!r} has version {version}, not {change.expected}")
        version = 0 if isinstance(change, Delete) else version + 1
        current[key] = version
        changed[key] = None if isinstance(change, Delete) else (version, change.body)
        versions.append(version)
    return tuple(versions), changed


async def _write(connection: Connection, found: dict[bytes, int], changed: _Changed) -> None:
    puts = {key: value for key, value in sorted(changed.items()) if value is not None}
    inserts = {key: value for key, value in puts.items() if key not in found}
    updates = {key: value for key, value in puts.items() if key in found}
    deletes = [key for key, value in changed.items() if value is None and key in found]
    if inserts:
        done = await connection.execute(_q_insert_documents, *_columns(inserts))
        if done != f"INSERT 0 {len(inserts)}":
            raise Again("a document appeared meanwhile")
    if updates:
        await connection.execute(_q_update_documents, *_columns(updates))
    if deletes:
        await connection.execute(_q_delete_documents, deletes)


def _columns(rows: dict[bytes, tuple[int, bytes]]) -> tuple[list[bytes], list[int], list[bytes]]:
    return list(rows), [version for version, _ in rows.values()], [body for _, body in rows.values()]


def _after_prefix(prefix: bytes) -> bytes | None:
    """The smallest key beyond every key with the prefix; UTF-8 has no byte 0xff, so the last byte can grow."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else None
