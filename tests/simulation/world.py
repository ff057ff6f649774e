"""One simulated world: durable state, a network, clients, and one life of the real server process after the other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from optimizer.config import Settings
from optimizer.model import ConfigurationError
from optimizer.nurseries import BreakerState, ServiceSpec
from optimizer.nurseries.services import Doors, declare_services
from optimizer.nurseries.tree import Exit, serve
from optimizer.observability import open_logging
from optimizer.root import Parts, Surroundings
from optimizer.storage.memory import MemoryState
from tests.simulation.clients import Client, Records
from tests.simulation.clockwork import Tracer, branch
from tests.simulation.durable import Weather, open_weathered
from tests.simulation.network import Listener, Network

EPOCH_US = 1_790_000_000_000_000
SECRET = "canary-secret-0123456789-0123456789-abcdef"
SETTINGS = Settings.model_validate(
    {
        "observability": {"resource_interval_s": 0, "log_level": "info"},
        "storage": {"backend": "memory"},
        # Small bounds, so that whatever is not given back is missed soon.
        "collector": {"buffer_size": 40, "batch_size": 20},
        "limits": {"connections": 40},
        "security": {"jwt_secret": SECRET},
        "supervision": {"backoff_max_s": 8, "check_interval_s": 5},
    }
)
REVIVE_S = 10.0


class Injected(Exception):
    """A crash that the simulation caused."""


@dataclass(kw_only=True)
class Life:
    """One process, from its start to its end."""

    number: int
    weather: Weather
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    parts: Parts | None = None
    began: float = 0.0
    ended: float | None = None
    stop_at: float | None = None
    hurried_at: float | None = None
    killed: bool = False
    cancelled: bool = False
    exit: Exit | None = None
    lines: list[dict[str, object]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    serving: dict[str, float] = field(default_factory=dict)
    ends: dict[str, tuple[float, int]] = field(default_factory=dict)
    crashed: set[str] = field(default_factory=set)
    injected: int = 0
    stuck_s: float = 0.0
    orders: dict[str, trio.Event] = field(default_factory=dict)
    unwind: dict[str, float] = field(default_factory=dict)


class World:
    """Everything that outlives a process, and the processes."""

    def __init__(self, seed: int, tracer: Tracer) -> None:
        self.seed = seed
        self.tracer = tracer
        self.state = MemoryState()
        self.network = Network(branch(seed, "network"))
        self.records = Records()
        self.settings = SETTINGS
        self.bad_configuration = False
        self.clock_offset_s = 0.0
        self.lives: list[Life] = []
        self.wanted = True  # whether the service manager starts the process again when it ended
        self.gone = trio.Event()
        self.secret_lines: list[str] = []
        self.leaps: list[tuple[float, float]] = []
        self._rng = branch(seed, "world")
        self._nonces = branch(seed, "nonces")

    @property
    def life(self) -> Life | None:
        """The process that runs now."""
        return self.lives[-1] if self.lives and self.lives[-1].ended is None else None

    def now(self) -> int:
        """The wall clock of the server's machine, in microseconds."""
        return EPOCH_US + int((trio.current_time() + self.clock_offset_s) * 1e6)

    def client(self, name: str, token: str) -> Client:
        """A client on a link of its own."""
        return Client(name, self.network, self.records, token)

    def heal(self) -> None:
        """Nothing is wrong from now on, and nothing more will go wrong."""
        self.tracer.forget()
        for link in self.network.links.values():
            link.heal()
        life = self.life
        if life is not None:
            life.weather.errors_until = life.weather.hangs_until = life.weather.slow_until = 0.0

    def disturbed(self, begin: float, end: float) -> bool:
        """Whether a link was stalled in between."""
        return any(begin <= stop and start <= end for start, stop in self.network.stalls)

    async def run_processes(self) -> None:
        """Be the service manager: start the process, and again a second after it ended, while it is wanted."""
        while self.wanted:
            await self._live()
            await trio.sleep(1)
        self.gone.set()

    async def settle(self) -> None:
        """Wait until a process runs that nobody has told to stop."""
        life = self.life
        while life is None or life.stop_at is not None or life.killed:
            await trio.sleep(0.25)
            life = self.life

    def kill(self) -> None:
        """kill -9: nothing that this process still does reaches the store or the network."""
        life = self.life
        if life is not None and not life.killed:
            life.killed = True
            life.weather.power = False
            self.network.power_off()
            life.scope.cancel()

    def cancel(self) -> None:
        """Cancel the tree from outside."""
        life = self.life
        if life is not None:
            life.cancelled = True
            if life.stop_at is None:
                life.stop_at = trio.current_time()
            life.scope.cancel()

    def terminate(self) -> None:
        """SIGTERM: the first drains, a second one hurries."""
        life = self.life
        if life is None or life.parts is None:
            return
        stop = life.parts.stop
        if stop.requested.is_set():
            stop.hurry("SIGTERM")
            if life.hurried_at is None:
                life.hurried_at = trio.current_time()
        else:
            stop.request("SIGTERM")
            life.stop_at = trio.current_time()
        if life.parts.board.ready():
            self.records.surprises.append("I9 ready although the stop was just requested")

    async def _live(self) -> None:
        weather = Weather(rng=branch(self.seed, f"weather {len(self.lives)}"))
        life = Life(number=len(self.lives), weather=weather, began=trio.current_time())
        self.lives.append(life)
        sink = _Sink(self, life)
        around = Surroundings(
            load=self._load,
            rng=branch(self.seed, f"jitter {life.number}"),
            listen=self._listen_operators,
            signals=False,
            now=self.now,
            nonce=lambda: self._nonces.randbytes(8),
            stopwatch=trio.current_time,
        )
        with open_logging("info", json=True, sink=sink) as control, life.scope:
            life.exit = await serve(
                self.settings, partial(self._declare, life), replace(around, logging=control), task_status=_Ignore()
            )
        life.ended = trio.current_time()
        self.network.power_off()

    def _load(self) -> Settings:
        if self.bad_configuration:
            raise ConfigurationError("file: observability.log_level: unknown level 'loud'")
        timeout = self.settings.rest_api.model_copy(update={"timeout_secs": self._rng.choice([20.0, 30.0])})
        return self.settings.model_copy(update={"rest_api": timeout})

    def _declare(self, life: Life, parts: Parts) -> Sequence[ServiceSpec]:
        life.parts = parts
        parts.stop.on_request(lambda: self._note_stop(life))
        breaker = parts.metrics.breaker_state.labels("postgres")
        life.weather.refuses = lambda: bool(breaker._value.get() == BreakerState.OPEN.value)
        doors = Doors(
            open_store=lambda _: open_weathered(self.state, life.weather),
            listen=self._listen_rest,
            threads=False,
            listen_grpc=self._listen_operators,  # type: ignore[arg-type]  # listeners of streams in memory
        )
        return [self._sabotage(life, spec) for spec in declare_services(parts, doors)]

    def _note_stop(self, life: Life) -> None:
        if life.stop_at is None:
            life.stop_at = trio.current_time()

    def _sabotage(self, life: Life, spec: ServiceSpec) -> ServiceSpec:
        """The same service, which crashes and sticks on order, and whose true state is known."""
        life.orders[spec.name] = trio.Event()

        async def crash_on_order() -> None:
            await life.orders[spec.name].wait()
            life.orders[spec.name] = trio.Event()
            life.injected += 1
            raise Injected(f"{spec.name} {life.injected}")

        class Watched:
            def __init__(self, task_status: trio.TaskStatus[None]) -> None:
                self._task_status = task_status

            def started(self, value: None = None) -> None:
                life.serving[spec.name] = trio.current_time()
                life.crashed.discard(spec.name)
                self._task_status.started(value)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(crash_on_order)
                    await spec.run(task_status=Watched(task_status))
                    nursery.cancel_scope.cancel()
            except Exception:
                life.crashed.add(spec.name)
                raise
            finally:
                slow = life.unwind.pop(spec.name, 0.0)
                with trio.move_on_after(slow, shield=True):
                    if slow:
                        await trio.sleep_forever()
                life.serving.pop(spec.name, None)
                life.ends[spec.name] = (trio.current_time(), self.tracer.steps)

        return replace(spec, run=run, revive_s=REVIVE_S)

    async def _listen_operators(self, _host: str, port: int) -> Sequence[Listener]:
        await trio.lowlevel.checkpoint()
        return [self.network.listen(port)]

    def _listen_rest(self, host: str, port: int) -> tuple[trio.SocketListener, tuple[str, int]]:
        return self.network.listen(port), (host, port)  # type: ignore[return-value]  # a listener of streams in memory


class _Sink:
    """Log lines of one life, kept as what they say; the trace has them without what differs from run to run."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life

    def write_line(self, line: str) -> None:
        if SECRET in line:
            self._world.secret_lines.append(line)
        record: dict[str, object] = json.loads(line)
        record.pop("timestamp", None)
        record["at"] = trio.current_time()
        self._life.lines.append(record)
        self._world.tracer.note(f"{record['at']:.6f} {record['event']} {record.get('service', '')}")
        if record["event"] == "service started":
            name = str(record["service"])
            if name not in self._life.started:
                self._life.started.append(name)
        elif record["event"] == "service stopped":
            self._life.stopped.append(str(record["service"]))


class _Ignore:
    def started(self, value: object = None) -> None:
        """Nobody waits."""
