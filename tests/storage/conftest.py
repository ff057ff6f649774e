"""Every backend that the contract suite runs over: a `Backend` opens the same durable state again and again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from optimizer.storage import MemoryState, Store, open_embedded, open_memory
from optimizer.storage.postgres import open_postgres
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
def schema() -> str:
    """A schema that no other test uses; the whole server goes when the tests end."""
    return f"test_{uuid4().hex}"


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
