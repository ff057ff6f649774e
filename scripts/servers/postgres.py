"""PostgreSQL: a cluster of its own, password authentication, loopback only."""

import os
import pwd
import secrets
import signal
import subprocess
import time
from pathlib import Path

from servers.place import (
    START_S,
    Problem,
    Server,
    environment,
    find_program,
    free_port,
    make_folder,
    stop,
    wait_for_port,
    wait_until_left,
)

USER = "optimizer"


def start(known: Server | None) -> Server:
    """Start the cluster; after a crash the one that was there, with its data and port. Raises: Problem."""
    binary = find_program("postgres", ["usr/lib/postgresql/*/bin"], ["postgresql"])
    user = _system_user()
    if known is not None and Path(known.folder, "data").exists():
        wait_until_left(Path(known.folder))
        Path(known.folder, "data", "postmaster.pid").unlink(missing_ok=True)  # its process may be a zombie for long
        return _launch(binary, user, Path(known.folder), known.port, known.secret)
    folder, secret = make_folder("postgres", user), secrets.token_urlsafe(16)
    _create(binary, user, folder, secret)
    return _launch(binary, user, folder, free_port(), secret)


def end(server: Server) -> None:
    """Stop the cluster: connections are closed, everything is written."""
    stop(server, signal.SIGINT)


def _system_user() -> str | None:
    """PostgreSQL refuses to run as root: the account to use then, None when we are somebody else already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Problem("PostgreSQL does not run as root, and there is neither a user 'postgres' nor 'nobody'")


def _wait_until_ready(binary: Path, port: int) -> None:
    """After a crash the port answers before recovery has ended."""
    command = [str(binary.with_name("pg_isready")), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    deadline = time.monotonic() + START_S
    while subprocess.run(command, env=environment(), check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise Problem(f"PostgreSQL on port {port} does not become ready")
        time.sleep(0.1)


def _create(binary: Path, user: str | None, folder: Path, secret: str) -> None:
    password = folder / "password"
    password.write_text(secret)
    if user is not None:
        os.chown(password, pwd.getpwnam(user).pw_uid, -1)
    options = ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
    command = [str(binary.with_name("initdb")), f"--pgdata={folder / 'data'}", f"--username={USER}", *options]
    done = subprocess.run(command, user=user, env=environment(), capture_output=True, text=True, check=False, cwd="/")
    password.unlink()
    if done.returncode != 0:
        raise Problem(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _launch(binary: Path, user: str | None, folder: Path, port: int, secret: str) -> Server:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": "60",
        "logging_collector": "off",
    }
    command = [str(binary), "-D", str(folder / "data")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, user=user, env=environment(), cwd="/", stdout=output, stderr=output, start_new_session=True
        )
    wait_for_port(port, process, log)
    _wait_until_ready(binary, port)
    version = subprocess.run([str(binary), "--version"], env=environment(), capture_output=True, text=True, check=True)
    url = f"postgresql://{USER}:{secret}@127.0.0.1:{port}/postgres"
    return Server("postgres", process.pid, port, str(folder), url, version.stdout.split()[2], secret)
