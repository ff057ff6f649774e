"""The whole port over a memory store, and unmodified grpcio clients generated from proto/."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from grpc_tools import protoc

from optimizer import collector, processor
from optimizer.bus import Latest, News, Slot
from optimizer.collector import Intake
from optimizer.config import Difference, Settings, apply_live, diff
from optimizer.grpc_api.assembly import make_services
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.rules import RULES
from optimizer.grpc_api.service import Policy, Telling, run
from optimizer.grpc_api.streams.subscriptions import Subscriptions
from optimizer.model import FeedbackEvent, Listing, Unauthenticated
from optimizer.nurseries.health import HealthBoard
from optimizer.nurseries.policy import ServiceSpec
from optimizer.nurseries.supervisor import Happening, ServiceEvent
from optimizer.observability import make_metrics
from optimizer.processor import Processor
from optimizer.processor.offices import make_offices
from optimizer.security import Identity, permissions_of
from optimizer.storage import MemoryState, Store, open_memory
from scripts.protos import PROTO, sources

KEYS = (b"k" * 32,)
NOW = 1_760_000_000_000_000
PATIENCE_S = 10.0

Client = Callable[[str, Any], Any]


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Imports a module that protoc and grpcio's plugin generated from proto/, untouched: `generated("config_pb2")`."""
    folder = tmp_path_factory.mktemp("client")
    well_known = str(files("grpc_tools") / "_proto")
    options = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", *options, *sources()]) == 0
    sys.path.insert(0, str(folder))
    yield lambda name: import_module(f"llm.optimizer.{name}")
    sys.path.remove(str(folder))


@dataclass
class Operated:
    """What operators did."""

    settings: Latest[Settings]
    file: Settings = field(default_factory=Settings)
    stops: list[tuple[str, float | None]] = field(default_factory=list)
    levels: list[tuple[str, str]] = field(default_factory=list)

    def reload(self) -> Difference:
        old = self.settings.get()
        self.settings.set(apply_live(old, self.file))
        return diff(old, self.file)

    def shut_down(self, reason: str, within_s: float | None) -> None:
        self.stops.append((reason, within_s))

    def set_log_level(self, level: str, module: str) -> str:
        self.levels.append((level, module))
        return "info"


@dataclass
class Stack:
    """A serving port."""

    rooms: Rooms
    operated: Operated
    store: Store
    generated: Callable[[str], Any]
    channel: grpc.Channel
    drain: Callable[[], None]
    port: int

    def stub(self, name: str, role: str = "admin") -> "Stub":
        """A client of the service in llm.optimizer.<name>, as a caller with that role ("" for no credentials)."""
        module = self.generated(f"{name}_pb2_grpc")
        kind = next(value for key, value in vars(module).items() if key.endswith("ServiceStub"))
        return Stub(kind(self.channel), self.generated(f"{name}_pb2"), role)


class Stub:
    """A grpcio stub driven from Trio: each call runs in a thread, as grpcio wants."""

    def __init__(self, stub: Any, messages: Any, role: str) -> None:
        self.pb = messages
        self._stub = stub
        self._metadata = [("authorization", f"Bearer {role}")] if role else []

    async def call(self, method: str, request: Any = None, **fields: Any) -> Any:
        """One reply. The request is a message, an iterable of messages, or its fields."""
        made = request if request is not None else self._request(method)(**fields)
        ask = getattr(self._stub, method)
        return await trio.to_thread.run_sync(lambda: ask(made, timeout=PATIENCE_S, metadata=self._metadata))

    async def all(self, method: str, request: Any) -> list[Any]:
        """Every reply of a method that streams."""
        ask = getattr(self._stub, method)
        return await trio.to_thread.run_sync(lambda: list(ask(request, timeout=PATIENCE_S, metadata=self._metadata)))

    async def fails(self, method: str, request: Any = None, **fields: Any) -> grpc.StatusCode:
        """The status of a call that must fail."""
        code: grpc.StatusCode = (await self.failure(method, request, **fields)).code()
        return code

    async def failure(self, method: str, request: Any = None, **fields: Any) -> Any:
        """The error of a call that must fail, streamed or not."""
        made = request if request is not None else self._request(method)(**fields)
        ask = getattr(self._stub, method)

        def read_all() -> None:
            answer = ask(made, timeout=PATIENCE_S, metadata=self._metadata)
            if hasattr(answer, "__next__"):
                list(answer)

        def run() -> Any:
            with pytest.raises(grpc.RpcError) as caught:
                read_all()
            return caught.value

        return await trio.to_thread.run_sync(run)

    @asynccontextmanager
    async def subscribed(self, method: str, request: Any = None, **fields: Any) -> AsyncIterator["Replies"]:
        """An open stream of replies; the block begins when the server has accepted it."""
        made = request if request is not None else self._request(method)(**fields)
        replies = getattr(self._stub, method)(made, timeout=PATIENCE_S, metadata=self._metadata)
        try:
            await trio.to_thread.run_sync(replies.initial_metadata)
            yield Replies(replies)
        finally:
            replies.cancel()

    def _request(self, method: str) -> Any:
        service = next(iter(self.pb.DESCRIPTOR.services_by_name.values()))
        name: str = service.methods_by_name[method].input_type.name
        return getattr(self.pb, name)


class Replies:
    """The replies of a stream, one at a time."""

    def __init__(self, replies: Any) -> None:
        self._replies = replies

    async def next(self) -> Any:
        """The next reply."""
        return await trio.to_thread.run_sync(lambda: next(self._replies))

    async def end(self) -> Any:
        """How the stream ended."""

        def run() -> Any:
            try:
                list(self._replies)
            except grpc.RpcError as error:
                return error
            return None

        return await trio.to_thread.run_sync(run)


def authenticate(authorization: str | None, api_key: str | None, *, now: float) -> Identity:
    """`Bearer <role>` is a caller with that role."""
    if authorization is None:
        raise Unauthenticated("no credentials")
    role = authorization.removeprefix("Bearer ")
    return Identity(f"{role}-user", frozenset({role}), permissions_of([role]), "token")


def unpriced(event: FeedbackEvent) -> FeedbackEvent:
    return event


@contextmanager
def connected(port: int) -> Iterator[grpc.Channel]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0)])
    try:
        yield channel
    finally:
        channel.close()


def board_of(*names: str) -> HealthBoard:
    """A board on which everything runs."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    board = HealthBoard()
    board.declare([ServiceSpec(name=name, run=run) for name in names])
    for name in names:
        board.observe(ServiceEvent(service=name, happening=Happening.STARTED, at=trio.current_time()))
    board.open()
    return board


@asynccontextmanager
async def open_stack(
    generated: Callable[[str], Any],
    folder: Path,
    *,
    state: MemoryState | None = None,
    buffer: int = 256,
    subscribers: int = 100,
) -> AsyncIterator[Stack]:
    """Everything behind the port, as the tree would wire it."""
    told = Settings.model_validate({"storage": {"data_dir": folder}})
    settings, news, listings = Latest(told), News(), Latest[dict[str, Listing]]({})
    intake, part = Slot[Intake]("collector"), Slot[Processor]("processor")
    operated = Operated(settings, told)
    ticks, began, bound = iter(range(10**9)), trio.current_time(), list[str]()
    leave, served = trio.Event(), trio.Event()

    def now() -> int:
        return NOW + int((trio.current_time() - began) * 1e6) + next(ticks)

    async with open_memory(state) as store, trio.open_nursery() as nursery:
        bounds = collector.Bounds(pending=10_000, batch=10_000, future_us=300_000_000, past_us=10**18)

        async def collect(*, task_status: trio.TaskStatus[None]) -> None:
            await collector.run(
                store, listings.get, intake, keys=KEYS, price=unpriced, now=now, bounds=bounds, task_status=task_status
            )

        async def process(*, task_status: trio.TaskStatus[None]) -> None:
            await processor.run(
                store, listings, part, keys=KEYS, now=now, nonce=lambda: next(ticks).to_bytes(8, "little"),
                stopwatch=trio.current_time, news=news, task_status=task_status,
            )  # fmt: skip

        rooms = Rooms(
            store=store,
            processor=part,
            intake=intake,
            offices=make_offices(store, news, now=now, nonce=lambda: next(ticks).to_bytes(8, "big")),
            news=news,
            board=board_of("storage", "collector", "processor", "grpc_api"),
            settings=settings,
            operations=operated,
            subscriptions=Subscriptions(most=subscribers, buffer=buffer),
            now=now,
            connections=lambda: 1,
            started_at=NOW,
        )
        policy = Policy(authenticate=authenticate, rules=RULES, clock=lambda: NOW / 1e6)

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await run(
                make_services(rooms), policy, Telling(metrics=make_metrics()), host="127.0.0.1", port=0, tls=None,
                ready=rooms.board.ready, changes=rooms.board.changes, leave=leave.wait, grace_s=5.0,
                on_drain=rooms.subscriptions.close, bound=bound.append, task_status=task_status,
            )  # fmt: skip
            served.set()

        for service in (collect, process, serve):
            await nursery.start(service)
        port = int(bound[0].rsplit(":", 1)[1])
        with connected(port) as channel:
            yield Stack(rooms, operated, store, generated, channel, leave.set, port)
        leave.set()
        await served.wait()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def stack(generated: Callable[[str], Any], tmp_path: Path) -> AsyncIterator[Stack]:
    """A serving port over an empty store."""
    async with open_stack(generated, tmp_path) as opened:
        yield opened
