"""A REST API on a processor and an intake over a memory store, reached through a real socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx
import trio

from optimizer import collector, processor, rest_api
from optimizer.bus import Latest, News, Slot
from optimizer.collector import Bounds, Intake
from optimizer.collector.intake import Price
from optimizer.model import FeedbackEvent, Listing, Unauthenticated
from optimizer.processor import Processor
from optimizer.rest_api import Access, ConnectionLimits, Deps, Doorman
from optimizer.security import LOCAL, Identity, permissions_of
from optimizer.storage import Store
from optimizer.storage.memory import FaultHook, MemoryState, open_memory

KEY = b"k" * 32
NOW = 1_780_000_000_000_000
READER = Identity("reader", frozenset({"readonly"}), permissions_of({"readonly"}), "token")
SERVICE = {
    "objective": {"goal": "minimize_cost", "constraints": [{"metric": "quality", "min_ratio_to_best": 0.95}]},
    "variants": [{"name": "a", "config": {"model": "m1"}}, {"name": "b"}],
    "baseline": "a",
    "segment_by": ["task"],
}


class Board:
    """Health as the tree would report it."""

    def __init__(self) -> None:
        self.told = "healthy"

    def report(self) -> dict[str, object]:
        """The body of GET /health."""
        return {"status": self.told, "uptime_secs": 1, "services": {}}

    def status(self) -> str:
        """The overall status."""
        return self.told

    def ready(self) -> bool:
        """Whether new work should be sent here."""
        return self.told != "unhealthy"


@dataclass
class Door:
    """A running front door."""

    url: str
    port: int
    store: Store
    board: Board
    doorman: Doorman
    leave: trio.Event
    done: list[tuple[str, int]] = field(default_factory=list)

    def client(self, token: str = "admin") -> httpx.AsyncClient:
        """A client that carries the token; "" for none."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10)


def authenticate(authorization: str | None, api_key: str | None, *, now: float) -> Identity:
    """Two known tokens."""
    known = {"Bearer admin": LOCAL, "Bearer reader": READER}
    if authorization not in known or api_key is not None or now <= 0:
        raise Unauthenticated("a bearer token is needed")
    return known[authorization]


def unpriced(event: FeedbackEvent) -> FeedbackEvent:
    """No price table."""
    return event


@asynccontextmanager
async def open_door(
    *,
    limits: ConnectionLimits | None = None,
    faults: FaultHook | None = None,
    timeout_s: float = 5.0,
    grace_s: float = 2.0,
    now: Callable[[], int] = lambda: NOW,
    price: Price = unpriced,
) -> AsyncIterator[Door]:
    """The front door with everything behind it, on a free port; on leaving it drains."""
    counter = count(1)
    intake_slot, slot = Slot[Intake]("collector"), Slot[Processor]("processor")
    listings: Latest[dict[str, Listing]] = Latest({})
    leave, board = trio.Event(), Board()
    doorman = Doorman(limits or ConnectionLimits())
    urls: list[str] = []
    done: list[tuple[str, int]] = []
    bounds = Bounds(pending=10_000, batch=10_000, future_us=10**9, past_us=10**15)

    async def run_processor(store: Store, task_status: trio.TaskStatus[None]) -> None:
        await processor.run(
            store,
            listings,
            slot,
            keys=(KEY,),
            now=now,
            nonce=lambda: next(counter).to_bytes(8, "little"),
            news=News(),
            stopwatch=trio.current_time,
            task_status=task_status,
        )

    async def run_collector(store: Store, task_status: trio.TaskStatus[None]) -> None:
        await collector.run(
            store,
            listings.get,
            intake_slot,
            keys=(KEY,),
            price=price,
            now=now,
            bounds=bounds,
            task_status=task_status,
        )

    async def run_rest(task_status: trio.TaskStatus[None]) -> None:
        deps = Deps(
            processor=slot,
            intake=intake_slot,
            access=Access(authenticate, lambda: 1.0),
            health=board,
            request_done=lambda operation, status, _: done.append((operation, status)),
            largest_body=4 << 20,
            timeout_s=timeout_s,
        )
        await rest_api.run(
            deps,
            host="127.0.0.1",
            port=0,
            tls=None,
            doorman=doorman,
            leave=leave.wait,
            grace_s=grace_s,
            bound=urls.append,
            task_status=task_status,
        )

    async with open_memory(MemoryState(), faults=faults) as store, trio.open_nursery() as behind:
        await behind.start(run_collector, store)
        await behind.start(run_processor, store)
        async with trio.open_nursery() as edge:
            await edge.start(run_rest)
            port = int(urls[0].rsplit(":", 1)[1])
            yield Door(urls[0], port, store, board, doorman, leave, done)
            leave.set()
        behind.cancel_scope.cancel()


async def raw(port: int, *pieces: bytes, patience_s: float = 10.0) -> bytes:
    """Send bytes over a plain connection and read until the server closes or the patience ends."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    received = b""
    with trio.move_on_after(patience_s):
        async with stream:
            for piece in pieces:
                await stream.send_all(piece)
            while chunk := await stream.receive_some(65536):
                received += chunk
    return received
