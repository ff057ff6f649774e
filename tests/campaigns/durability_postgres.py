"""kill -9 of our process, and every fourth time of PostgreSQL itself: nothing acknowledged is lost or doubled."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count

from optimizer.storage import Store
from optimizer.storage.postgres import open_postgres
from tests.campaigns.durability import Place, kill_writers
from tests.services import command, recorded, service

SERVER_EVERY = 4
"""Kills of our process for one of the server's, which takes longer to come back."""


def run_kills(kills: int, first_seed: int, url: str) -> Iterator[str]:
    """That many kills; every contradiction found, as a sentence with its seed."""

    def place(number: int) -> Place:
        schema = f"kills_{os.getpid()}_{first_seed}_{number}"

        def open_again() -> AbstractAsyncContextManager[Store]:
            started = command("up", "postgres")  # it may have been the victim
            if started.returncode != 0:
                raise RuntimeError(started.stderr)
            return open_postgres(url, schema=schema)

        return Place(("postgres", url, schema, "0.5"), open_again)

    def victim(seed: int) -> int:
        return int(str(recorded("postgres")["pid"])) if seed % SERVER_EVERY == SERVER_EVERY - 1 else 0

    places = (place(i) for i in count())
    return kill_writers(range(first_seed, first_seed + kills), places, victim)


def main(seeds: int) -> int:
    """Run `seeds` kills and print a line for each contradiction."""
    with service("postgres") as url:
        problems = list(run_kills(seeds, 0, url))
    for problem in problems:
        print(problem)
    print("RESULT", json.dumps({"part": "durability_postgres", "kills": seeds, "failures": len(problems)}))
    return len(problems)
