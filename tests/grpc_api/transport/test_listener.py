"""The port over real sockets: how many connections, from where, and that nobody's fault is anybody else's."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from optimizer.grpc_api.transport import Connection, Limits, Peer, Port
from optimizer.grpc_api.transport.engine import Exchange
from optimizer.grpc_api.transport.frames import PREFACE
from optimizer.grpc_api.transport.listener import _group
from tests.grpc_api.conftest import Connect, Journal, Server, make_port, open_server
from tests.grpc_api.echo import ECHO
from tests.grpc_api.peer import RawPeer, text


@asynccontextmanager
async def dial(server: Server, *, source: str = "127.0.0.1") -> AsyncIterator[RawPeer]:
    """A raw peer on a socket, from an address of the loopback network."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.number, local_address=source)
    peer = RawPeer(stream, server.port, server.journal)
    try:
        await peer.greet()
        yield peer
    finally:
        await trio.aclose_forcefully(stream)


async def is_served(peer: RawPeer) -> bool:
    try:
        return (await peer.call(ECHO, text("x"))).get("grpc-status") == "0"
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return False


async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async with open_server(limits=Limits(connections=2)) as server:
        async with dial(server) as first, dial(server) as second:
            assert await is_served(first)
            assert await is_served(second)
            async with dial(server) as third:
                assert not await is_served(third)
            assert await is_served(first)
        assert server.journal.refusals == ["connections"]
        while server.port.connections:
            await trio.lowlevel.checkpoint()
        async with dial(server) as again:
            assert await is_served(again)


async def test_connections_of_one_address_have_their_own_limit() -> None:
    async with open_server(limits=Limits(connections_per_ip=1)) as server:
        async with dial(server) as first, dial(server, source="127.0.0.2") as other:
            assert await is_served(first)
            assert await is_served(other)
            async with dial(server) as second:
                assert not await is_served(second)
        assert server.journal.refusals == ["connections_per_ip"]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("gone", "gone"),
    ],
)
def test_an_ipv6_network_counts_as_one_peer(address: str, group: str) -> None:
    assert _group(address) == group


async def test_a_fault_in_a_call_ends_that_call_alone(connect: Connect) -> None:
    async def serve(exchange: Exchange, connection: Connection) -> None:
        raise KeyError("a bug outside every containment")

    journal = Journal()
    port = Port(serve, limits=Limits(), watcher=journal)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(port.serve_secured, theirs, Peer(address="memory"))
        peer = RawPeer(ours, port, journal)
        await peer.greet()
        for _ in range(3):
            stream_id, raw = peer.request(ECHO, text("x"))
            await peer.send(raw)
            await peer.answer(stream_id)
            assert peer.reset(stream_id) == 0x2
        assert [type(failure) for failure in journal.failures] == [KeyError] * 3
        assert not peer.goaways()
        nursery.cancel_scope.cancel()


async def test_ages_differ_from_connection_to_connection(autojump_clock: MockClock) -> None:
    del autojump_clock
    rng = random.Random(7)
    ages = []
    for _ in range(8):
        port, journal = make_port(limits=Limits(idle_s=1e9, age_s=1_000, age_jitter=0.1))
        port._rand = rng.random
        ours, theirs = trio.testing.memory_stream_pair()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.serve_secured, theirs, Peer(address="memory"))
            peer = RawPeer(ours, port, journal)
            await peer.greet()
            await peer.wait(lambda: False)
        ages.append(trio.current_time() - began)
    assert all(900 <= age <= 1_100 for age in ages)
    assert len(set(ages)) == len(ages)


async def test_two_thousand_connections_leave_nothing_behind() -> None:
    port, journal = make_port()
    async with trio.open_nursery() as nursery:
        for number in range(2_000):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(port.serve_secured, theirs, Peer(address="memory"))
            peer = RawPeer(ours, port, journal)
            await peer.greet()
            _, raw = peer.request(ECHO, text("x"))
            await peer.send(raw if number % 2 else raw[: number % len(raw)])
            if number % 3:
                await wait_all_tasks_blocked()
            await ours.aclose()
            if number % 100 == 99:
                await wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 0
                assert not port.connections
    assert journal.failures == []
    assert {why for why, _ in journal.endings()} <= {"peer", "fault"}
    assert [detail for why, detail in journal.endings() if why == "fault"] == []


async def test_http1_and_noise_are_turned_away(connect: Connect) -> None:
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(64), PREFACE[:-1] + b"x" * 20):
        peer = await connect(greet=False)
        await peer.send(first)
        await peer.wait(lambda: False)
        assert peer.journal.endings()[0][0] == "violation"
