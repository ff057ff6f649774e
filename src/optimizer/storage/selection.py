"""Which store a configuration means."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, assert_never

from optimizer.storage.embedded import open_embedded
from optimizer.storage.memory import open_memory
from optimizer.storage.protocols import Store

StoreKind = Literal["memory", "embedded", "postgres"]


def open_store(
    kind: StoreKind, *, folder: Path, url: str | None = None, connections: int = 10
) -> AbstractAsyncContextManager[Store]:
    """The store of this kind. "embedded" uses `folder`; "postgres" needs `url` and holds that many `connections`."""
    match kind:
        case "memory":
            return open_memory()
        case "embedded":
            return open_embedded(folder)
        case "postgres":
            from optimizer.storage.postgres import open_postgres  # asyncio and its drivers: only where they are used

            if url is None:
                raise ValueError("the PostgreSQL store needs a url")
            return open_postgres(url, connections=connections)
        case _:
            assert_never(kind)
