"""What one call may hold: bounds that keep queues, transactions and answers of every backend finite."""

from collections.abc import Sequence

from optimizer.model import InvalidArgument
from optimizer.storage.protocols import ANY_VERSION, Cursor, Delete, Put, Record

APPEND_RECORDS = 100_000
"""Records in one append: ten times the largest batch that an intake accepts."""

CALL_BYTES = 16 * 2**20
"""Bytes in one append or commit: the largest request body is 4 MiB, a snapshot is a few."""

READ_BYTES = 16 * 2**20
"""Bytes of entries in one answer, so that a consumer's memory is bounded by its `limit` and by this."""

NAME_BYTES = 1024
"""Bytes of a kind, key, dedup key or cursor name: they are index keys, and an index page holds at least four."""

_OVERHEAD = 64  # what a record costs beside its text, about


def check_records(records: Sequence[Record]) -> int:
    """The size of the batch in bytes, about. Raises: InvalidArgument, naming the record by its index."""
    if len(records) > APPEND_RECORDS:
        raise InvalidArgument(f"{len(records)} records in one append; at most {APPEND_RECORDS}")
    size = 0
    for i, record in enumerate(records):
        dedup = record.dedup
        if dedup is not None and not 0 < len(dedup) <= NAME_BYTES:
            raise InvalidArgument(f"record {i}: dedup key of {len(dedup)} bytes; 1 to {NAME_BYTES} are allowed")
        size += len(record.payload)
    for kind, key in {(record.kind, record.key) for record in records}:
        _check_name("kind", kind)
        _check_name("key", key, empty=True)
    size += _OVERHEAD * len(records)
    if size > CALL_BYTES:
        raise InvalidArgument(f"{size} bytes in one append; at most {CALL_BYTES}")
    return size


def check_changes(changes: Sequence[Put | Delete], cursor: Cursor | None) -> int:
    """The size of the transaction in bytes, about. Raises: InvalidArgument."""
    size = _OVERHEAD
    for change in changes:
        _check_name("document key", change.key)
        if change.expected < ANY_VERSION:
            raise InvalidArgument(f"document {change.key!r}: version {change.expected} cannot exist")
        size += len(change.key) + (len(change.body) if isinstance(change, Put) else 0) + _OVERHEAD
    if cursor is not None:
        _check_name("cursor name", cursor.name)
        if not 0 <= cursor.offset < 2**63:
            raise InvalidArgument(f"cursor {cursor.name!r}: offset {cursor.offset} cannot exist")
    if size > CALL_BYTES:
        raise InvalidArgument(f"{size} bytes in one transaction; at most {CALL_BYTES}")
    return size


def encode_name(name: str) -> bytes:
    """The name in UTF-8. Raises: InvalidArgument for a lone surrogate."""
    try:
        return name.encode()
    except UnicodeEncodeError as e:
        raise InvalidArgument(f"{name!r} is not valid Unicode text") from e


def _check_name(what: str, name: str, *, empty: bool = False) -> None:
    length = len(encode_name(name))
    if length > NAME_BYTES or not (length or empty):
        raise InvalidArgument(f"{what} of {length} bytes; {0 if empty else 1} to {NAME_BYTES} are allowed")
