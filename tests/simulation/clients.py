"""The applications around the server: they report calls until acknowledged, ask for decisions, and remember it all."""

import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import h11
import trio

from tests.simulation.network import Network, Stream

REST, OPERATORS = 8080, 9090
PATIENCE_S = 45.0
SERVICES = ("chat", "search")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


class Lost(Exception):
    """No answer: refused, reset, cut, or not in time."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of one request: when, and its status (0 for no answer, -1 for no answer in time)."""

    client: str
    target: str
    began: float
    ended: float
    status: int


@dataclass(kw_only=True)
class Records:
    """What the clients saw: the ground truth that the invariants are checked against."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # event id -> service
    sent: dict[str, str] = field(default_factory=dict)
    order: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # (client, service) -> ids as acknowledged
    calls: list[Call] = field(default_factory=list)
    decisions: int = 0
    surprises: list[str] = field(default_factory=list)


class Client:
    """An HTTP/1.1 client of its own link, one connection for several requests."""

    def __init__(self, name: str, network: Network, records: Records, token: str) -> None:
        self.name = name
        self._network = network
        self._records = records
        self._token = token
        self._stream: Stream | None = None
        self._wire: h11.Connection | None = None

    async def ask(
        self, method: str, path: str, body: object = None, *, port: int = REST, patience_s: float = PATIENCE_S
    ) -> Reply:
        """One request. Raises `Lost` when there is no whole answer in time; the connection is given up then."""
        began, status = trio.current_time(), -1
        try:
            with trio.fail_after(patience_s):
                try:
                    reply = await self._exchange(method, path, body, port)
                    status = reply.status
                    return reply
                except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError) as error:
                    status = 0
                    raise Lost(repr(error)) from error
        except trio.TooSlowError as error:
            raise Lost("too slow") from error
        finally:
            if status <= 0:
                self._give_up()
            self._records.calls.append(Call(self.name, f"{method} {path}", began, trio.current_time(), status))

    async def _exchange(self, method: str, path: str, body: object, port: int) -> Reply:
        if self._stream is None or port != REST:
            self._give_up()
            self._stream = await self._network.connect(self.name, port)
            self._wire = h11.Connection(h11.CLIENT)
        wire, stream = self._wire, self._stream
        assert wire is not None
        payload = b"" if body is None else json.dumps(body).encode()
        headers = [("Host", "server"), ("Authorization", f"Bearer {self._token}")]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))]
        data = wire.send(h11.Request(method=method, target=path, headers=headers)) or b""
        data += (wire.send(h11.Data(data=payload)) or b"") if payload else b""
        data += wire.send(h11.EndOfMessage()) or b""
        await stream.send_all(data)
        reply = await self._read(wire, stream)
        if wire.our_state is h11.DONE and wire.their_state is h11.DONE and port == REST:
            wire.start_next_cycle()
        else:
            self._give_up()
        return reply

    async def _read(self, wire: h11.Connection, stream: Stream) -> Reply:
        status, parts = 0, b""
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                parts += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Reply(status, parts)
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError("closed before the answer")

    def _give_up(self) -> None:
        if self._stream is not None:
            self._stream.reset()
        self._stream = self._wire = None


async def insist(act: Callable[[], Awaitable[Reply]], rng: random.Random, records: Records) -> Reply:
    """Repeat until there is an answer that is neither a failure of the server nor an overload."""
    while True:
        try:
            reply = await act()
        except Lost:
            await trio.sleep(0.1 + rng.random())
            continue
        if reply.status in (429, 502, 503, 504):
            await trio.sleep(0.1 + rng.random())
            continue
        if reply.status >= 500:
            records.surprises.append(f"status {reply.status}: {reply.body[:200]!r}")
            await trio.sleep(1)
            continue
        return reply


def declaration(rng: random.Random) -> Mapping[str, object]:
    """A service as its owner declares it."""
    return {
        "objective": {"goal": rng.choice(["minimize_cost", "minimize_latency", "maximize_quality"])},
        "variants": [{"name": "a", "config": {"model": "m1"}}, {"name": "b", "config": {"model": "m2"}}],
        "baseline": "a",
        "mode": "learn",
        "segment_by": ["task"],
    }


async def run_client(client: Client, records: Records, rng: random.Random, now: Callable[[], int], rounds: int) -> None:
    """Declare the services, then report calls and ask for decisions, one thing after the other."""
    for service in SERVICES:
        body = declaration(rng)
        done = await insist(lambda s=service, b=body: client.ask("PUT", f"/api/v1/services/{s}", b), rng, records)  # type: ignore[misc]
        if done.status not in (200, 409):
            records.surprises.append(f"declaring {service}: {done.status} {done.body[:200]!r}")
    for number in range(rounds):
        service = rng.choice(SERVICES)
        if rng.random() < 0.35:
            await decide(client, service, records, rng)
        else:
            await report(client, service, records, rng, now, f"{client.name}-{number}")
        await trio.sleep(rng.expovariate(2.0))


async def decide(client: Client, service: str, records: Records, rng: random.Random) -> None:
    """Ask which variant to use; an application that gets no answer falls back and goes on."""
    body = {"context": {"task": rng.choice(["math", "code"])}, "key": f"user-{rng.randrange(20)}"}
    try:
        reply = await client.ask("POST", f"/api/v1/services/{service}/decide", body)
    except Lost:
        return
    if reply.status == 200:
        records.decisions += 1
        if not 0 < float(str(reply.json()["probability"])) <= 1:
            records.surprises.append(f"decide without a probability: {reply.body[:200]!r}")
    elif reply.status not in (404, 429, 503, 504):
        records.surprises.append(f"decide: {reply.status} {reply.body[:200]!r}")


async def report(
    client: Client, service: str, records: Records, rng: random.Random, now: Callable[[], int], name: str
) -> None:
    """Report a few finished calls, with the same ids until they are acknowledged."""
    ids = [f"{name}-{i}" for i in range(rng.randrange(1, 5))]
    records.sent.update(dict.fromkeys(ids, service))

    async def send() -> Reply:
        events = [
            {
                "event_id": event_id,
                "occurred_at": now() / 1e6 - 7200,  # so that no jump of the server's clock makes it the future
                "service": service,
                "variant": rng.choice(["a", "b"]),
                "context": {"task": "math"},
                "latency_ms": 100 + 900 * rng.random(),
                "quality": rng.random(),
                "cost_usd": "0.001",
            }
            for event_id in ids
        ]
        return await client.ask("POST", "/api/v1/feedback", {"events": events})

    reply = await insist(send, rng, records)
    if reply.status != 200:
        records.surprises.append(f"feedback: {reply.status} {reply.body[:200]!r}")
        return
    receipt = reply.json()
    if receipt["rejected"]:
        records.surprises.append(f"rejected: {receipt['rejected']}")
        return
    records.acknowledged.update(dict.fromkeys(ids, service))
    records.order.setdefault((client.name, service), []).extend(ids)
