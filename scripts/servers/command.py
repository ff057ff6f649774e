"""`scripts/services up|down|status [postgres] [redis] [kafka]`: without names, all three.

`up` starts what does not run yet and records it in var/services.json (url, port, pid); a server that died is started
again on its data and port. `down` stops it and deletes its data; what was downloaded stays.
"""

import argparse
import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from servers import kafka, postgres, redis
from servers.place import VAR, Problem, load, remove_folder, save

KINDS: dict[str, ModuleType] = {"postgres": postgres, "redis": redis, "kafka": kafka}


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time in this checkout."""
    VAR.mkdir(exist_ok=True)
    with (VAR / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(names: list[str]) -> None:
    """Start the named servers that do not run. Raises: Problem."""
    servers = load()
    for name in names:
        known = servers.get(name)
        if known is None or not known.runs():
            servers[name] = KINDS[name].start(known)
            save(servers)


def down(names: list[str]) -> None:
    """Stop the named servers and delete their data."""
    servers = load()
    for name in names:
        if name in servers:
            server = servers.pop(name)
            KINDS[name].end(server)
            remove_folder(server)
            save(servers)


def status(names: list[str]) -> bool:
    """Print a line for each named server; whether all of them run."""
    servers, all_run = load(), True
    for name in names:
        server = servers.get(name)
        if server is not None and server.runs():
            print(f"{name:9} {server.version:10} running on 127.0.0.1:{server.port}, pid {server.pid}")
        else:
            all_run = False
            print(f"{name:9} {'dead: `up` starts it again on its data' if server is not None else 'not started'}")
    return all_run


def main() -> int:
    """Do what the command line says; 0 when it worked."""
    parser = argparse.ArgumentParser(prog="scripts/services", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("names", nargs="*", metavar="server", help=f"of {', '.join(KINDS)} (default: all)")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.names) - set(KINDS)):
        parser.error(f"unknown server {unknown[0]!r}; there are {', '.join(KINDS)}")
    names = list(dict.fromkeys(chosen.names)) or list(KINDS)
    try:
        with _alone():
            if chosen.action == "up":
                up(names)
            elif chosen.action == "down":
                down(names)
            return 0 if chosen.action != "status" or status(names) else 1
    except Problem as e:
        print(e, file=sys.stderr)
        return 1
