"""Identity, rights, limits, log and metrics of calls, through a whole chain as the service composes it."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import wait_all_tasks_blocked

from optimizer.grpc_api.calls import Stream
from optimizer.grpc_api.calls.journal import Journal as CallJournal
from optimizer.grpc_api.health import CHECK, Standing
from optimizer.grpc_api.interceptors import PUBLIC, LoadLimits
from optimizer.grpc_api.service import Policy, Telling, make_dispatcher
from optimizer.grpc_api.transport import Limits, Peer, Port
from optimizer.model import ConfigurationError
from optimizer.observability import make_metrics
from optimizer.security import ApiKeys, Authenticator, Permission, RateLimit, Tokens
from tests.grpc_api.conftest import Journal
from tests.grpc_api.echo import CHAT, COUNT, ECHO, HANG, RAISE, SUM, Echo
from tests.grpc_api.peer import RawPeer, frame_message, text

TOKENS = Tokens([b"k" * 32], issuer="tests")
RULES: Mapping[str, Permission | None] = {
    ECHO: Permission.OPTIMIZE_READ,
    COUNT: Permission.OPTIMIZE_WRITE,
    SUM: Permission.ADMIN_READ,
    CHAT: Permission.OPTIMIZE_READ,
    HANG: Permission.OPTIMIZE_READ,
    RAISE: PUBLIC,
}
NOW = 1_800_000_000.0


def bearer(*roles: str, subject: str = "alice") -> list[tuple[str, str]]:
    return [("authorization", "Bearer " + TOKENS.issue(subject, roles, now=NOW, ttl_s=600))]


class House:
    """A chain over the echo service, and peers to it."""

    def __init__(self, nursery: trio.Nursery, echo: Echo | None = None, **policy: Any) -> None:
        self.nursery = nursery
        self.lines: list[str] = []
        self.hidden = "debug"
        self.telling = Telling(metrics=make_metrics(), journal=self, rng=random.Random(1))
        authenticator = Authenticator(TOKENS, ApiKeys([]))
        given = {"authenticate": authenticator.authenticate, "rules": RULES, "clock": lambda: NOW, **policy}
        self.calls = CallJournal(self, lambda: NOW)
        self.standing = Standing([])
        dispatcher = make_dispatcher([echo or Echo()], Policy(**given), self.telling, self.standing, self.calls)
        self.journal = Journal()
        self.port = Port(dispatcher.serve, limits=Limits(), watcher=self.journal)

    json = True

    def shows(self, level: str) -> bool:
        return level != self.hidden

    def write_line(self, line: str) -> None:
        self.lines.extend(line.splitlines())

    def records(self) -> list[dict[str, Any]]:
        self.calls.flush()
        return [json.loads(line) for line in self.lines]

    async def connect(self) -> RawPeer:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.port.serve_secured, theirs, Peer(address="10.0.0.1"))
        peer = RawPeer(ours, self.port, self.journal)
        await peer.greet()
        return peer

    def count(self, method: str, status: str) -> float | None:
        labels = {"operation": method, "status": status}
        return self.telling.metrics.registry.get_sample_value("requests_total", labels)


async def test_a_method_without_a_rule_cannot_be_served(nursery: trio.Nursery) -> None:
    rules = {path: rule for path, rule in RULES.items() if path != SUM}
    with pytest.raises(ConfigurationError, match=r"methods without an access rule.*Sum"):
        House(nursery, rules=rules)
    with pytest.raises(ConfigurationError, match=r"rules without a method.*Nobody"):
        House(nursery, rules={**RULES, "/test.Echo/Nobody": PUBLIC})


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (ECHO, [], "16"),
        (ECHO, [("authorization", "Bearer nonsense")], "16"),
        (ECHO, [("authorization", "Basic YTpi")], "16"),
        (ECHO, [("authorization", "Bearer \xe4")], "16"),
        (ECHO, bearer("read"), "0"),
        (COUNT, bearer("read"), "7"),
        (COUNT, bearer("write"), "0"),
        (SUM, bearer("write"), "7"),
        (SUM, bearer("admin"), "0"),
        (RAISE, [], "13"),  # public: it is its handler that fails
    ],
)
async def test_each_method_asks_for_its_permission(
    nursery: trio.Nursery, path: str, fields: list[tuple[str, str]], status: str
) -> None:
    peer = await House(nursery).connect()
    body = frame_message(b"") if path in (COUNT, SUM) else text("x")
    assert (await peer.call(path, body, fields=fields))["grpc-status"] == status


async def test_the_rate_is_counted_per_user_and_says_when_to_come_back(nursery: trio.Nursery) -> None:
    limit = RateLimit(1.0, 3, 100)
    house = House(nursery, limiter=lambda: limit)
    peer = await house.connect()
    for _ in range(3):
        assert (await peer.call(ECHO, text("x"), fields=bearer("read")))["grpc-status"] == "0"
    refused = await peer.call(ECHO, text("x"), fields=bearer("read"))
    assert refused["grpc-status"] == "8"
    assert 0 < int(refused["grpc-retry-pushback-ms"]) <= 1_000
    assert (await peer.call(ECHO, text("x"), fields=bearer("read", subject="bob")))["grpc-status"] == "0"


async def test_the_rate_can_be_counted_for_all_together(nursery: trio.Nursery) -> None:
    limit = RateLimit(1.0, 2, 100)
    peer = await House(nursery, limiter=lambda: limit, per_user=lambda: False).connect()
    results = [(await peer.call(ECHO, text("x"), fields=bearer("read", subject=name)))["grpc-status"] for name in "abc"]
    assert results == ["0", "0", "8"]


async def test_guessing_credentials_is_limited_by_address(nursery: trio.Nursery) -> None:
    limit = RateLimit(1.0, 2, 100)
    peer = await House(nursery, limiter=lambda: limit).connect()
    results = [
        (await peer.call(ECHO, text("x"), fields=[("authorization", f"Bearer {number}")]))["grpc-status"]
        for number in range(4)
    ]
    assert results == ["16", "16", "8", "8"]


async def test_calls_beyond_the_limit_are_shed_and_health_is_not(nursery: trio.Nursery) -> None:
    echo = Echo()
    house = House(nursery, echo, load=LoadLimits(calls=2))
    peer = await house.connect()
    waiting = [peer.request(HANG, text("x"), fields=bearer("read")) for _ in range(2)]
    await peer.send(*(raw for _, raw in waiting))
    await wait_all_tasks_blocked()
    refused = await peer.call(ECHO, text("x"), fields=bearer("read"))
    assert (refused["grpc-status"], refused["grpc-retry-pushback-ms"]) == ("8", "500")
    assert (await peer.call(CHECK, frame_message(b"")))["grpc-status"] == "0"
    echo.release.set()
    for stream_id, _ in waiting:
        assert (await peer.answer(stream_id))["grpc-status"] == "0"
    assert (await peer.call(ECHO, text("x"), fields=bearer("read")))["grpc-status"] == "0"


async def test_a_call_whose_deadline_has_passed_is_not_begun(nursery: trio.Nursery) -> None:
    echo = Echo()
    peer = await House(nursery, echo).connect()
    answer = await peer.call(ECHO, text("late"), fields=[*bearer("read"), ("grpc-timeout", "0n")])
    assert answer["grpc-status"] == "4"
    assert echo.seen == []


async def test_the_journal_tells_what_happened(nursery: trio.Nursery) -> None:
    house = House(nursery)
    peer = await house.connect()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    fields = [*bearer("write"), ("x-request-id", "mine-1"), ("traceparent", trace)]
    await peer.call(COUNT, frame_message(b"\x08\x05"), fields=fields)
    await peer.call(ECHO, text("x"))
    first, second = house.records()
    assert first == {
        "timestamp": "2027-01-15T08:00:00+00:00",
        "level": "info",
        "event": "call",
        "method": COUNT,
        "status": "OK",
        "duration_ms": first["duration_ms"],
        "request_id": "mine-1",
        "peer": "10.0.0.1",
        "requests": 1,
        "replies": 5,
        "user": "alice",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert (second["status"], len(second["request_id"])) == ("UNAUTHENTICATED", 16)
    assert "user" not in second


async def test_metrics_count_each_ending(nursery: trio.Nursery) -> None:
    echo = Echo(KeyError("bug"))
    house = House(nursery, echo)
    peer = await house.connect()
    await peer.call(ECHO, text("x"), fields=bearer("read"))
    await peer.call(RAISE, text("x"))
    await peer.call(HANG, text("x"), fields=[*bearer("read"), ("grpc-timeout", "1n")])
    stream_id, raw = peer.request(HANG, text("x"), fields=bearer("read"))
    await peer.send(raw)
    await wait_all_tasks_blocked()
    await peer.send((4).to_bytes(3, "big") + b"\x03\x00" + stream_id.to_bytes(4, "big") + (8).to_bytes(4, "big"))
    await wait_all_tasks_blocked()
    assert house.count(ECHO, "OK") == 1
    assert house.count(RAISE, "INTERNAL") == 1
    assert house.count(HANG, "DEADLINE_EXCEEDED") == 1
    assert house.count(HANG, "CANCELLED") == 1
    assert [record["status"] for record in house.records()] == ["OK", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED"]


async def test_a_cancelled_call_with_tasks_of_its_own_is_no_bug(nursery: trio.Nursery) -> None:
    class Busy(Echo):
        async def hang(self, stream: Stream[StringValue, StringValue]) -> None:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(trio.sleep_forever)
                tasks.start_soon(trio.sleep_forever)

    house = House(nursery, Busy())
    peer = await house.connect()
    answer = await peer.call(HANG, text("x"), fields=[*bearer("read"), ("grpc-timeout", "1m")])
    assert answer["grpc-status"] == "4"
    assert house.count(HANG, "DEADLINE_EXCEEDED") == 1
    assert [record["status"] for record in house.records()] == ["DEADLINE_EXCEEDED"]


async def test_bugs_carry_the_request_id_to_the_client(nursery: trio.Nursery) -> None:
    house = House(nursery, Echo(KeyError("bug")))
    peer = await house.connect()
    trailers = await peer.call(RAISE, text("x"), fields=[("x-request-id", "find-me")])
    assert "grpc-status-details-bin" in trailers
    assert house.records()[0]["request_id"] == "find-me"


async def test_unary_calls_end_after_the_servers_own_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Curious(Echo):
        left = 0.0

        async def hang(self, stream: Stream[StringValue, StringValue]) -> None:
            assert stream.deadline is not None
            self.left = stream.deadline.time_remaining()
            await super().hang(stream)

    curious = Curious()
    peer = await House(nursery, curious, timeout_s=lambda: 7.0).connect()
    assert (await peer.call(HANG, text("x"), fields=bearer("read")))["grpc-status"] == "4"
    assert trio.current_time() == pytest.approx(7.0)
    assert curious.left == pytest.approx(7.0)


async def test_calls_are_listed_as_the_rest_of_the_log_is(nursery: trio.Nursery) -> None:
    house = House(nursery)
    house.json = False
    peer = await house.connect()
    await peer.call(COUNT, frame_message(b"\x08\x05"), fields=bearer("write"))
    house.calls.flush()
    (line,) = house.lines
    assert line.startswith("2027-01-15T08:00:00Z [info     ] call method=" + COUNT)
    assert "status=OK" in line
    house.hidden = "info"
    await peer.call(COUNT, frame_message(b"\x08\x05"), fields=bearer("write"))
    house.calls.flush()
    assert len(house.lines) == 1
