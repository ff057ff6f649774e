"""Migrations up and down, by many at once, and what is refused."""

from dataclasses import replace

import pytest
import trio

from optimizer.model import FailedPrecondition, StoreCorrupt
from optimizer.storage import Put
from optimizer.storage.postgres import Migration, open_migrations, open_postgres
from optimizer.storage.postgres.migrations import known_migrations

pytestmark = pytest.mark.services

EXTRA = Migration(number=9001, name="extra", up="CREATE TABLE extra (n int)", down="DROP TABLE extra")
BROKEN = Migration(number=9002, name="broken", up="CREATE TABLE half (n int); SELECT 1 / 0", down="SELECT 1")


async def test_migrations_go_up_and_down(postgres_url: str, schema: str) -> None:
    async with open_migrations(postgres_url, schema=schema) as migrations:
        assert [step.applied_at for step in await migrations.list()] == [None] * len(known_migrations())
        assert [step.number for step in await migrations.apply()] == [step.number for step in known_migrations()]
        assert list(await migrations.apply()) == []
        assert all(step.applied_at is not None for step in await migrations.list())
        undone = await migrations.roll_back(len(known_migrations()))
        assert [step.number for step in undone] == [step.number for step in known_migrations()][::-1]
        assert list(await migrations.roll_back()) == []
        assert [step.number for step in await migrations.apply()] == [step.number for step in known_migrations()]
    async with open_postgres(postgres_url, schema=schema) as store:
        assert await store.commit([Put(key="a", body=b"x")]) == (1,)


async def test_many_at_once_apply_each_migration_once(postgres_url: str, schema: str) -> None:
    applied: list[int] = []

    async def migrate() -> None:
        async with open_migrations(postgres_url, schema=schema) as migrations:
            applied.extend(step.number for step in await migrations.apply())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(migrate)
    assert sorted(applied) == [step.number for step in known_migrations()]


async def test_an_edited_migration_is_refused(postgres_url: str, schema: str) -> None:
    async with open_migrations(postgres_url, schema=schema) as migrations:
        await migrations.apply()
    first, *rest = known_migrations()
    edited = (replace(first, up=first.up + "-- harmless?"), *rest)
    async with open_migrations(postgres_url, schema=schema, known=edited) as migrations:
        with pytest.raises(StoreCorrupt, match="was edited"):
            await migrations.apply()


async def test_a_database_newer_than_the_program_is_refused(postgres_url: str, schema: str) -> None:
    async with open_migrations(postgres_url, schema=schema, known=(*known_migrations(), EXTRA)) as migrations:
        await migrations.apply()
    with pytest.raises(FailedPrecondition, match="migration 9001"):
        async with open_postgres(postgres_url, schema=schema):
            pass


async def test_a_migration_that_fails_leaves_nothing_of_itself(postgres_url: str, schema: str) -> None:
    steps = (*known_migrations(), EXTRA, BROKEN)
    async with open_migrations(postgres_url, schema=schema, known=steps) as migrations:
        with pytest.raises(Exception, match="division by zero"):
            await migrations.apply()
        states = {step.number: step.applied_at is not None for step in await migrations.list()}
        assert (states[9001], states[9002]) == (True, False)
        assert [step.number for step in await migrations.roll_back()] == [9001]


async def test_missing_migrations_are_refused_when_they_may_not_be_applied(postgres_url: str, schema: str) -> None:
    with pytest.raises(FailedPrecondition, match="migrate"):
        async with open_postgres(postgres_url, schema=schema, migrate=False):
            pass
    async with open_migrations(postgres_url, schema=schema) as migrations:
        await migrations.apply()
    async with open_postgres(postgres_url, schema=schema, migrate=False) as store:
        assert await store.end() == 0
