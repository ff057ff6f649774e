"""Documents and cursors in PostgreSQL; every function runs on the asyncio side, inside one crossing."""

from collections.abc import Sequence

import asyncpg

from optimizer.model import Conflict
from optimizer.storage.limits import encode_name
from optimizer.storage.postgres.connections import Pool
from optimizer.storage.postgres.errors import Beaten
from optimizer.storage.protocols import Cursor, Delete, Document, Put

_q_get_document = "SELECT version, body FROM documents WHERE key = $1"
_q_scan_documents = """
    SELECT key, version, body FROM documents
    WHERE key >= $1 AND key > $2 AND ($3::bytea IS NULL OR key < $3)
    ORDER BY key LIMIT $4
"""
_q_commit_documents = "SELECT commit_documents($1, $2, $3, $4, $5)"
_q_get_cursor = "SELECT position FROM cursors WHERE name = $1"

_CONFLICT, _BEATEN = "OC001", "OC002"


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
    """See `Documents.commit`. Raises: Conflict; Beaten when a document appeared between looking and writing."""
    keys = [encode_name(change.key) for change in changes]
    bodies = [change.body if isinstance(change, Put) else None for change in changes]
    expected = [change.expected for change in changes]
    place = (None, None) if cursor is None else (encode_name(cursor.name), cursor.offset)
    try:
        return tuple(await pool.fetchval(_q_commit_documents, keys, bodies, expected, *place))
    except asyncpg.PostgresError as e:
        if e.sqlstate == _BEATEN:
            raise Beaten("PostgreSQL: a document appeared meanwhile, again and again") from e
        if e.sqlstate != _CONFLICT:
            raise
        index, _, version = str(e.detail).partition(" ")
        change = changes[int(index) - 1]
        raise Conflict(f"document {change.key!r} has version {version}, not {change.expected}") from e


def _after_prefix(prefix: bytes) -> bytes | None:
    """The smallest key beyond every key with the prefix; UTF-8 has no byte 0xff, so the last byte can grow."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else None
