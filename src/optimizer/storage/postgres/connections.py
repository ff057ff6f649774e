"""How we connect: bounded pool, time limits that the server enforces, durable commits, one schema."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg

from optimizer.model import ConfigurationError

CONNECT_S = 10.0
STATEMENT_S = 30.0
"""Seconds after which the server gives up a statement: the largest call takes about one."""
LOCK_S = 10.0
"""Seconds to wait for another replica's append or commit."""

Connection = Any
Pool = Any
"""asyncpg has no types."""

_q_keep_commits_durable = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


def check_schema(schema: str) -> str:
    """The schema's name. Raises: ConfigurationError for one that would need quoting."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema):
        raise ConfigurationError(f"schema {schema!r}: lower-case letters, digits and _ are allowed, at most 48")
    return schema


def open_pool(url: str, schema: str, connections: int) -> AbstractAsyncContextManager[Pool]:
    """A pool, for the asyncio side; its exit waits for calls under way. It connects when it is first asked: a floor
    of open connections would be held by a task of asyncpg's that nobody watches.
    """
    pool: AbstractAsyncContextManager[Pool] = asyncpg.create_pool(
        url, min_size=0, max_size=connections, init=_prepare, reset=_keep, **_options(schema)
    )
    return pool


@asynccontextmanager
async def open_connection(url: str, schema: str) -> AsyncIterator[Connection]:
    """One connection outside the pool, for the asyncio side."""
    connection = await asyncpg.connect(url, **_options(schema))
    try:
        await _prepare(connection)
        yield connection
    finally:
        await connection.close(timeout=CONNECT_S)


def _options(schema: str) -> dict[str, Any]:
    return {
        "timeout": CONNECT_S,
        "command_timeout": STATEMENT_S + LOCK_S,
        "server_settings": {
            "application_name": "llm-auto-optimizer",
            "search_path": check_schema(schema),
            "statement_timeout": f"{STATEMENT_S:.0f}s",
            "lock_timeout": f"{LOCK_S:.0f}s",
            # Every statement of ours goes by a key. Without statistics (a new day's partition has none) the planner
            # would rather collect and sort a whole partition for each read.
            "enable_bitmapscan": "off",
            "enable_seqscan": "off",
            "jit": "off",  # or the penalty on the one way to read a table of one row makes it compile the statement
            "idle_in_transaction_session_timeout": f"{STATEMENT_S:.0f}s",
        },
    }


async def _prepare(connection: Connection) -> None:
    await connection.execute(_q_keep_commits_durable)


async def _keep(_connection: Connection) -> None:
    """Nothing to reset between users: no call of ours changes a session. The default costs a round trip each time."""
