"""Which store a configuration means."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, assert_never

from optimizer.storage.embedded import open_embedded
from optimizer.storage.memory import open_memory
from optimizer.storage.protocols import Store

StoreKind = Literal["memory", "embedded"]


def open_store(kind: StoreKind, *, folder: Path) -> AbstractAsyncContextManager[Store]:
    """The store of this kind; `folder` is the data folder, which "memory" does not touch."""
    match kind:
        case "memory":
            return open_memory()
        case "embedded":
            return open_embedded(folder)
        case _:
            assert_never(kind)
