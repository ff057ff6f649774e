"""What systemd is told (sd_notify(3)): READY, RELOADING, STOPPING, WATCHDOG. Silent where there is no systemd."""

import os
import socket
import time
from collections.abc import Mapping

import structlog
import trio

log = structlog.stdlib.get_logger(__name__)


class ServiceManager:
    """Sends datagrams to the socket named by NOTIFY_SOCKET; a lost one is logged, never raised."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the abstract namespace (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_seconds(environ)

    def ready(self) -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self, reason: str) -> None:
        """The stop began."""
        self._send(f"STOPPING=1\nSTATUS=stopping: {reason}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Feed systemd's watchdog from the loop, so that a loop that stands still is noticed. Runs until cancelled."""
        task_status.started()
        if self.watchdog_s is None:
            await trio.sleep_forever()
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_s / 2)  # sd_watchdog_enabled(3): half of the time that is allowed

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("the service manager could not be told", state=text.split("\n", 1)[0], error=str(error))


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds, when it is meant for this process."""
    try:
        meant_for_us = int(environ.get("WATCHDOG_PID", os.getpid())) == os.getpid()
        seconds = int(environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None
    return seconds if meant_for_us and seconds > 0 else None
