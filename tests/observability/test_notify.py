"""sd_notify: datagrams as systemd expects them, silence without a socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from optimizer.observability import LineList, ServiceManager, open_logging


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield bound


def received(inbox: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(inbox.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_states(inbox: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": inbox.getsockname()})
    manager.ready()
    manager.reloading()
    manager.ready()
    manager.stopping("SIGTERM")
    messages = received(inbox)
    assert [message.split("\n")[0] for message in messages] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert "MONOTONIC_USEC=" in messages[1]
    assert "SIGTERM" in messages[3]


def test_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0optimizer-test-{os.getpid()}")
        bound.setblocking(False)
        ServiceManager({"NOTIFY_SOCKET": f"@optimizer-test-{os.getpid()}"}).ready()
        assert received(bound) == ["READY=1"]


def test_without_systemd_nothing_is_sent() -> None:
    lines = LineList()
    with open_logging("debug", json=True, sink=lines):
        ServiceManager({}).ready()
    assert lines.lines == []


def test_a_lost_socket_is_logged_and_not_raised(tmp_path: Path) -> None:
    lines = LineList()
    with open_logging("info", json=True, sink=lines):
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert lines.containing("READY=1", "warn")


async def test_the_watchdog_is_fed_twice_per_period(
    inbox: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    environ = {"NOTIFY_SOCKET": inbox.getsockname(), "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    with trio.move_on_after(95):
        await ServiceManager(environ).run()
    assert received(inbox) == ["WATCHDOG=1"] * 10


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog_where_none_is_meant(environ: dict[str, str]) -> None:
    assert ServiceManager(environ).watchdog_s is None
