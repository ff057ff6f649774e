"""Every backend that the contract suite runs over: a `Backend` opens the same durable state again and again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from optimizer.bridge import open_bridge
from optimizer.storage import MemoryState, Store, open_embedded, open_memory
from optimizer.storage.postgres import open_postgres
from optimizer.storage.postgres.connections import open_connection
from tests.services import service


@dataclass(frozen=True)
class Backend:
    """`open()` is a context manager for a store; a second `open()` after the first has ended finds its content."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with service("postgres") as url:
        yield url


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    """A schema that no other test uses."""
    name = f"test_{uuid4().hex}"
    yield name

    async def drop() -> None:
        async with open_bridge() as bridge, bridge.opened(lambda: open_connection(postgres_url, name)) as connection:
            await bridge.run(connection.execute, f"DROP SCHEMA IF EXISTS {name} CASCADE")

    trio.run(drop)  # a server with few files starts sooner after a crash


@pytest.fixture(params=["memory", "embedded", pytest.param("postgres", marks=pytest.mark.services)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    match request.param:
        case "memory":
            state = MemoryState()
            return Backend("memory", lambda: open_memory(state))
        case "embedded":
            return Backend("embedded", lambda: open_embedded(tmp_path / "store"))
        case _:
            url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("schema")
            return Backend("postgres", lambda: open_postgres(url, schema=schema))
