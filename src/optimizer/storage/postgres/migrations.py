"""Numbered SQL migrations, up and down, each in a transaction of its own, one process at a time.

The files lie in `sql/` as `NNNN_name.up.sql` and `NNNN_name.down.sql`. A migration that was applied is never edited:
its checksum is stored, and a difference is refused.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import TypeVar

from optimizer.bridge import Bridge, open_bridge
from optimizer.model import FailedPrecondition, StoreCorrupt
from optimizer.storage.postgres.connections import Connection, check_schema, open_connection
from optimizer.storage.postgres.errors import database_errors

T = TypeVar("T")

_q_create_table = """
    CREATE TABLE IF NOT EXISTS migrations (
        number     integer     PRIMARY KEY,
        name       text        NOT NULL,
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
_q_list_applied = "SELECT number, name, checksum, applied_at FROM migrations ORDER BY number"
_q_insert_applied = "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)"
_q_delete_applied = "DELETE FROM migrations WHERE number = $1"
_q_lock = "SELECT pg_advisory_lock(hashtext('llm-auto-optimizer migrations'), hashtext($1))"
_q_unlock = "SELECT pg_advisory_unlock(hashtext('llm-auto-optimizer migrations'), hashtext($1))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema. `applied_at` is None when the database does not have it."""

    number: int
    name: str
    up: str
    down: str
    applied_at: datetime | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the up file."""
        return hashlib.sha256(self.up.encode()).hexdigest()


def known_migrations() -> tuple[Migration, ...]:
    """The migrations of this program, by number."""
    folder = resources.files(__package__) / "sql"
    found = []
    for file in folder.iterdir():
        number, _, rest = file.name.partition("_")
        if rest.endswith(".up.sql"):
            name = rest.removesuffix(".up.sql")
            down = (folder / f"{number}_{name}.down.sql").read_text()
            found.append(Migration(number=int(number), name=name, up=file.read_text(), down=down))
    return tuple(sorted(found, key=lambda migration: migration.number))


class Migrations:
    """The migrations of one database; made by `open_migrations`. Raises everywhere: StorageUnavailable, StoreCorrupt
    (an applied migration was edited), FailedPrecondition (the database is newer than this program).
    """

    def __init__(self, bridge: Bridge, url: str, schema: str, known: Sequence[Migration]) -> None:
        self._bridge = bridge
        self._url = url
        self._schema = schema
        self._known = known

    async def list(self) -> Sequence[Migration]:
        """All migrations, with the time at which each was applied here."""
        return await self._locked(self._list)

    async def apply(self) -> Sequence[Migration]:
        """Apply what is missing, in order; what was applied now."""
        return await self._locked(self._apply)

    async def roll_back(self, count: int = 1) -> Sequence[Migration]:
        """Undo the newest `count` applied migrations, newest first; what was undone. Their tables' content is lost."""

        async def undo(connection: Connection) -> Sequence[Migration]:
            applied = [step for step in await self._list(connection) if step.applied_at is not None]
            chosen = applied[::-1][:count]
            for step in chosen:
                async with connection.transaction():
                    await connection.execute(step.down)
                    await connection.execute(_q_delete_applied, step.number)
            return chosen

        return await self._locked(undo)

    async def _locked(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def run() -> T:
            async with open_connection(self._url, self._schema) as connection:
                await connection.execute(_q_lock, self._schema)
                try:
                    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
                    await connection.execute(_q_create_table)
                    return await work(connection)
                finally:
                    await connection.execute(_q_unlock, self._schema)

        with database_errors():
            return await self._bridge.run(run)

    async def _list(self, connection: Connection) -> Sequence[Migration]:
        applied = {row["number"]: row for row in await connection.fetch(_q_list_applied)}
        numbers = {step.number for step in self._known}
        if newer := sorted(set(applied) - numbers):
            raise FailedPrecondition(
                f"schema {self._schema} has migration {newer[-1]} ({applied[newer[-1]]['name']}), which this program"
                f" does not know: it knows {max(numbers, default=0)}"
            )
        return [self._merge(step, applied.get(step.number)) for step in self._known]

    def _merge(self, step: Migration, row: Connection) -> Migration:
        if row is None:
            return step
        if row["checksum"] != step.checksum:
            raise StoreCorrupt(f"migration {step.number} ({step.name}) was edited after schema {self._schema} got it")
        return Migration(number=step.number, name=step.name, up=step.up, down=step.down, applied_at=row["applied_at"])

    async def _apply(self, connection: Connection) -> Sequence[Migration]:
        missing = [step for step in await self._list(connection) if step.applied_at is None]
        for step in missing:
            async with connection.transaction():
                await connection.execute(step.up)
                await connection.execute(_q_insert_applied, step.number, step.name, step.checksum)
        return missing


@asynccontextmanager
async def open_migrations(
    url: str, *, schema: str = "optimizer", known: Sequence[Migration] | None = None
) -> AsyncIterator[Migrations]:
    """The migrations of the database at `url`; nothing is connected before the first call."""
    async with open_bridge() as bridge:
        yield Migrations(bridge, url, check_schema(schema), known_migrations() if known is None else known)
