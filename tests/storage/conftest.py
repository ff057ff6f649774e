"""Every backend that the contract suite runs over: a `Backend` opens the same durable state again and again."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from optimizer.storage import MemoryState, Store, open_embedded, open_memory


@dataclass(frozen=True)
class Backend:
    """`open()` is a context manager for a store; a second `open()` after the first has ended finds its content."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Store]]


def memory_backend(_folder: Path) -> Backend:
    state = MemoryState()
    return Backend("memory", lambda: open_memory(state))


def embedded_backend(folder: Path) -> Backend:
    return Backend("embedded", lambda: open_embedded(folder))


BACKENDS: dict[str, Callable[[Path], Backend]] = {"memory": memory_backend, "embedded": embedded_backend}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    make: Callable[[Path], Backend] = BACKENDS[request.param]
    return make(tmp_path / "store")
