"""Where servers live, which processes they are, and how programs that the machine lacks are found."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
STATE = VAR / "services.json"
PACKAGES = VAR / "packages"

STOP_S = 20.0
START_S = 60.0


class Problem(Exception):
    """Why a server cannot be had here, for the person at the terminal."""


@dataclass
class Server:
    """A server as recorded in var/services.json: what a client needs, and what stopping it needs."""

    name: str
    pid: int
    port: int
    folder: str
    url: str
    version: str
    secret: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def runs(self) -> bool:
        """Whether the recorded process lives and works in the recorded folder (ids are used again)."""
        return _works_in(Path(f"/proc/{self.pid}/cwd"), Path(self.folder))


def load() -> dict[str, Server]:
    """The recorded servers by name."""
    if not STATE.exists():
        return {}
    return {name: Server(**value) for name, value in json.loads(STATE.read_text()).items()}


def save(servers: dict[str, Server]) -> None:
    """Replace the record; it holds passwords, so only its owner reads it."""
    VAR.mkdir(exist_ok=True)
    temporary = STATE.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        json.dump({name: asdict(server) for name, server in servers.items()}, file, indent=2)
    temporary.replace(STATE)


def free_port() -> int:
    """A port of the loopback address that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process_lives: "subprocess.Popen[bytes] | None", log: Path) -> None:
    """Until something accepts connections there. Raises: Problem with the end of the log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process_lives is not None and process_lives.poll() is not None:
            break
        time.sleep(0.1)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise Problem(f"nothing listens on port {port}; the end of {log}:\n{tail}")


def wait_until_left(folder: Path) -> None:
    """Until no process works in the folder: the children of a killed server end a little later. Raises: Problem."""
    deadline = time.monotonic() + STOP_S
    while left := [path for path in Path("/proc").glob("[0-9]*/cwd") if _works_in(path, folder)]:
        if time.monotonic() > deadline:
            raise Problem(f"process {left[0].parent.name} still works in {folder}")
        time.sleep(0.05)


def _works_in(link: Path, folder: Path) -> bool:
    try:
        return link.readlink().is_relative_to(folder)
    except OSError:  # it has ended, or it is somebody else's
        return False


def stop(server: Server, number: int = signal.SIGTERM) -> None:
    """Ask the process to end, wait, and end it; other processes are never touched."""
    if not server.runs():
        return
    os.kill(server.pid, number)
    deadline = time.monotonic() + STOP_S
    while server.runs() and time.monotonic() < deadline:
        time.sleep(0.05)
    if server.runs():
        os.kill(server.pid, signal.SIGKILL)


def remove_folder(server: Server) -> None:
    """Delete the server's data."""
    shutil.rmtree(server.folder, ignore_errors=True)


def make_folder(name: str, user: str | None) -> Path:
    """An empty private folder for a server: below var/, or in the temporary folder if its user cannot reach var/."""
    folder = VAR / "services" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    if user is None:
        return folder
    shutil.chown(folder, user)
    reachable = subprocess.run(["test", "-w", str(folder)], user=user, check=False, cwd="/").returncode == 0
    if not reachable:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=f"optimizer-{name}-"))
        shutil.chown(folder, user)
    return folder


def find_program(name: str, folders: list[str], packages: list[str]) -> Path:
    """The program in the first of the folders that has it (the last in order of names), here or in `packages`.

    The packages are unpacked below var/, not installed, so no system service starts. Raises: Problem.
    """
    for attempt in range(2):
        for top in (Path("/"), PACKAGES):
            for pattern in folders:
                found = sorted(top.glob(f"{pattern}/{name}"))
                if found:
                    return found[-1]
        if attempt == 0:
            _unpack(packages)
    raise Problem(f"{name} is not in the Debian packages {' '.join(packages)}")


def _unpack(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise Problem(f"this machine has no apt-get; install {' '.join(packages)} by hand")
    archives = VAR / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]
    command = ["apt-get", *options, "--yes", "--quiet", "--no-install-recommends", "--download-only", "install"]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0 and os.geteuid() == 0:  # perhaps the package lists are missing or old
        subprocess.run(["apt-get", "--quiet", "update"], capture_output=True, check=False)
        done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"apt-get could not fetch {' '.join(packages)}: {done.stderr.strip()}")
    PACKAGES.mkdir(exist_ok=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(PACKAGES)], check=True)


def environment() -> dict[str, str]:
    """The environment in which unpacked programs find their libraries."""
    paths = [str(path) for path in sorted(PACKAGES.glob("usr/lib/*-linux-gnu"))]
    known = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*paths, *([known] if known else [])])}
