"""Redis: in memory only, with a password, loopback only."""

import secrets
import subprocess

from servers.place import Server, environment, find_program, free_port, make_folder, stop, wait_for_port


def start(known: Server | None) -> Server:
    """Start the server, on the port that a crashed one had. Raises: Problem."""
    binary = find_program("redis-server", ["usr/bin", "usr/local/bin"], ["redis-server"])
    folder = make_folder("redis", None)
    port, secret = (known.port, known.secret) if known is not None else (free_port(), secrets.token_urlsafe(16))
    settings = folder / "redis.conf"  # a file: a password on the command line can be read by everybody
    settings.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {secret}\ndir {folder}\nsave ""\nappendonly no\n')
    settings.chmod(0o600)
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(binary), str(settings)],
            env=environment(),
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    wait_for_port(port, process, log)
    version = subprocess.run([str(binary), "--version"], env=environment(), capture_output=True, text=True, check=True)
    url = f"redis://:{secret}@127.0.0.1:{port}/0"
    return Server("redis", process.pid, port, str(folder), url, version.stdout.split("v=")[1].split()[0], secret)


def end(server: Server) -> None:
    """Stop the server."""
    stop(server)
