"""What must hold in every run, whatever went wrong (numbered as in the promises of `docs/shutdown.md`)."""

from collections import Counter
from collections.abc import Iterator

import trio

from optimizer.core import records as kinds
from optimizer.nurseries import State
from optimizer.nurseries.tree import Exit
from tests.simulation.clients import REST, Records
from tests.simulation.world import Life, World

SERVICES = ("storage", "collector", "integrations", "processor", "rest_api", "grpc_api")
EDGES = ("rest_api", "grpc_api")
TICK_S = 0.4
TRUTH_S = 1.0
KNOWN_CRASHES = ("Injected", "StorageUnavailable", "failed health checks")  # ours, or what bad weather excuses


async def watch(world: World, found: list[str]) -> None:
    """Look at the running process a few times a second."""
    lies: dict[tuple[int, str], float] = {}
    while True:
        life = world.life
        if life is not None and life.parts is not None and not life.killed:
            found += list(look(world, life, lies))
        await trio.sleep(TICK_S)


def look(world: World, life: Life, lies: dict[tuple[int, str], float]) -> Iterator[str]:
    """What does not hold at this moment."""
    parts = life.parts
    assert parts is not None
    for name, health in parts.board.services().items():
        shown = health.healthy and health.state not in (State.SHUTTING_DOWN, State.STOPPED)
        yield from lie(world, lies, (life.number, f"{name} is shown as healthy"), shown and name not in life.serving)
    deaf = parts.board.ready() and not world.network.listening(REST)
    yield from lie(world, lies, (life.number, "ready although nothing listens"), deaf)
    if parts.stop.requested.is_set() and parts.board.ready():
        yield "I9 ready although the stop was requested"
    for name, depth in parts.topics.queues.items():
        if depth() > parts.settings.get().collector.buffer_size:  # I7
            yield f"I7 queue {name} holds {depth()}"


def lie(world: World, lies: dict[tuple[int, str], float], key: tuple[int, str], is_one: bool) -> Iterator[str]:
    """I9: health may be wrong for a second, not longer."""
    now = trio.current_time()
    if not is_one:
        lies.pop(key, None)
    elif now - lies.setdefault(key, now) > TRUTH_S and not leapt(world, lies[key], now):
        yield f"I9 {key[1]} for more than {TRUTH_S:g} s"


def judge(world: World) -> Iterator[str]:
    """What does not hold after the run."""
    yield from check_events(world, world.records)
    for life in world.lives:
        yield from check_life(world, life)
        if life.weather.intruders:  # I8
            yield f"I8 life {life.number} asked the store {life.weather.intruders} times while its breaker was open"
    yield from check_calls(world)
    yield from world.records.surprises
    if world.secret_lines:  # I12
        yield f"I12 a secret in the log: {world.secret_lines[0]}"


def check_events(world: World, records: Records) -> Iterator[str]:
    """I1 nothing acknowledged is lost, I2 nothing is there twice, I3 the order of each sender is kept."""
    offsets: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for entry in world.state.entries:
        if entry.kind == kinds.FEEDBACK:
            event = kinds.decode_feedback(entry.payload)
            counts[event.event_id] += 1
            offsets.setdefault(event.event_id, entry.offset)
            if records.sent.get(event.event_id) != event.service:
                yield f"I2 event {event.event_id} of {event.service} was never sent"
    yield from (
        f"I1 acknowledged event {event_id} is lost" for event_id in records.acknowledged if not counts[event_id]
    )
    yield from (f"I2 event {event_id} is in the log {n} times" for event_id, n in counts.items() if n > 1)
    choices = Counter(
        item.assignment_id
        for entry in world.state.entries
        if entry.kind == kinds.EXPOSURES
        for item in kinds.decode_exposures(entry.payload).items
    )
    yield from (f"I2 choice {name} is in the log {n} times" for name, n in choices.items() if n > 1)
    for (client, service), ids in records.order.items():
        places = [offsets[event_id] for event_id in ids if event_id in offsets]
        if places != sorted(places):
            yield f"I3 events of {client} for {service} are out of order"


def check_life(world: World, life: Life) -> Iterator[str]:
    """I4 everything ends in its time, I5 in the reverse order, I11 every crash is told once, the exit code is true."""
    if life.killed:
        return
    name = f"life {life.number}"
    if life.ended is None:
        yield f"I4 {name} never ended"
        return
    if life.stop_at is not None and not leapt(world, life.stop_at, life.ended):
        took, limit = life.ended - life.stop_at, 25 + life.stuck_s + 0.1
        if took > limit:
            yield f"I4 {name} took {took:.2f} s to stop"
        if life.hurried_at is not None and life.ended - life.hurried_at > 1 + 5 + life.stuck_s:
            yield f"I4 {name} took {life.ended - life.hurried_at:.2f} s after the second request"
    emergency = any(line["event"] == "the grace time is over: everything is cancelled" for line in life.lines)
    services = [n for n in life.started if n in SERVICES]
    # The root's own tasks end after all services, whenever they were started.
    expected = services[::-1] + [n for n in life.started[::-1] if n not in SERVICES]
    if not emergency and life.stopped != expected:
        yield f"I5 {name} started {life.started} and stopped {life.stopped}"
    if services != list(SERVICES[: len(services)]):
        yield f"I5 {name} started in the order {life.started}"
    if not emergency:
        yield from check_ends(life, name)
    crashes = [line for line in life.lines if line["event"] == "service crashed"]
    told = sum("Injected" in str(line.get("exception", "")) for line in crashes)
    if told != life.injected:
        yield f"I11 {name}: {life.injected} injected crashes, {told} told"
    unstopped = any(line["event"].startswith("service did not stop") for line in life.lines)  # type: ignore[attr-defined]
    if life.exit is not None and (life.exit is Exit.UNSTOPPED) != unstopped and life.exit is Exit.CLEAN:
        yield f"I4 {name} ended with {life.exit!r} although something did not stop"
    for line in crashes:
        if not any(known in str(line.get("exception", "")) for known in KNOWN_CRASHES):
            yield f"I11 {name}: {line.get('service')} crashed by itself: {str(line.get('exception', ''))[-300:]}"
    if any(line["event"] == "the server failed" for line in life.lines):
        yield f"I11 {name} ended with a bug: {life.lines[-3:]}"
    if life.exit is None and not life.cancelled:
        yield f"I11 {name} ended with an error that nobody handled"


def check_ends(life: Life, name: str) -> Iterator[str]:
    """I5 once more, by when the services really ended: no matter how the stop began, what is inside ends first.

    The two edges drain at the same time, so either may be the first; whoever had crashed before does not count.
    """
    if life.stop_at is None:
        return
    counted = {n: (at, step) for n, (at, step) in life.ends.items() if at >= life.stop_at and n not in life.crashed}
    ends = [(step, service) for service, (_, step) in counted.items()]
    order = ["edge" if service in EDGES else service for _, service in sorted(ends)]
    want = sorted(order, key=lambda service: -1 if service == "edge" else -SERVICES.index(service) + 10)
    if order != want:
        yield f"I5 {name} ended in the order {[service for _, service in sorted(ends)]}"


def check_calls(world: World) -> Iterator[str]:
    """I6 every call gets an answer or an end: no client has to give up by itself, unless a link was stalled."""
    for call in world.records.calls:
        if (
            call.status == -1
            and not leapt(world, call.began, call.ended)
            and not world.disturbed(call.began, call.ended)
        ):
            yield f"I6 {call.client} waited {call.ended - call.began:.0f} s for {call.target} from {call.began:.1f}"


def leapt(world: World, begin: float, end: float) -> bool:
    """Whether time was made to pass at once in between."""
    return any(begin - 1 <= at <= end + seconds for at, seconds in world.leaps)
