"""What PostgreSQL and asyncpg report, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from optimizer.model import StorageUnavailable, StoreCorrupt

_BUGS = ("22", "23", "42601", "42703", "42804", "42883")
"""SQLSTATE of mistakes in our statements: bad data, a broken constraint, syntax, an unknown column or function."""

_CORRUPT = ("XX001", "XX002")
"""SQLSTATE of damaged tables and indexes."""

_AGAIN = ("40001", "40P01")
"""SQLSTATE of transactions that another one pushed out: serialization failure, deadlock."""


class Lost(StorageUnavailable):
    """The connection went away; a new one may work at once."""


class Beaten(StorageUnavailable):
    """A concurrent transaction was in the way: do it again from the beginning."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Map errors to StorageUnavailable (`Lost`, `Beaten`) and StoreCorrupt; what is a bug of ours passes."""
    try:
        yield
    except asyncpg.PostgresError as e:
        state = str(e.sqlstate or "")
        if state.startswith(_BUGS):
            raise
        if state in _AGAIN:
            raise Beaten(f"PostgreSQL: {e} (SQLSTATE {state})") from e
        if state in _CORRUPT:
            raise StoreCorrupt(f"PostgreSQL: {e} (SQLSTATE {state})") from e
        if state.startswith(("08", "57P")):
            raise Lost(f"PostgreSQL: {e} (SQLSTATE {state})") from e
        raise StorageUnavailable(f"PostgreSQL: {e} (SQLSTATE {state})") from e
    except TimeoutError as e:  # an OSError too, so it comes first
        raise StorageUnavailable("PostgreSQL did not answer in time") from e
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError) as e:
        raise Lost(f"PostgreSQL: {str(e) or type(e).__name__}") from e
