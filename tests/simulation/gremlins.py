"""Makes the faults of a plan happen."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from tests.simulation.clients import REST
from tests.simulation.faults import Fault, Kind
from tests.simulation.world import World

SLOW_WINDOW = 1024  # a few answers fill it, so that the server is held up after little work


async def run_plan(world: World, faults: Sequence[Fault], rng: random.Random, seen: Counter[str]) -> None:
    """Do each fault at its time; `seen` counts those that really happened."""
    async with trio.open_nursery() as nursery:
        for fault in faults:
            await trio.sleep_until(fault.at)
            act = ENDINGS.get(fault.kind)
            if act is not None:
                end_soon(world, fault, act, seen)
            elif await happen(world, fault, rng, nursery):
                seen[fault.kind.value] += 1
        for _ in range(30):  # virtual time: whoever waits for a step gets three seconds
            if world.tracer.waiting:
                await trio.sleep(0.1)


def end_soon(world: World, fault: Fault, act: Callable[[World], None], seen: Counter[str]) -> None:
    """End the process some steps from now, wherever its tasks are then."""

    def end() -> None:
        life = world.life
        if life is not None and life.parts is not None and not life.killed:
            act(world)
            seen[fault.kind.value] += 1

    if fault.kind is Kind.SECOND_TERM:
        world.terminate()
    world.tracer.at_step(world.tracer.steps + fault.steps, end)


ENDINGS: dict[Kind, Callable[[World], None]] = {
    Kind.TERM: World.terminate,
    Kind.SECOND_TERM: World.terminate,
    Kind.KILL: World.kill,
    Kind.CANCEL: World.cancel,
}


async def happen(world: World, fault: Fault, rng: random.Random, nursery: trio.Nursery) -> bool:
    """Begin one fault; whether there was something that it could happen to."""
    life, now, size = world.life, trio.current_time(), fault.size
    match fault.kind:
        case Kind.PARTITION:
            nursery.start_soon(partition, world, rng, 1 + 9 * size)
        case Kind.SWIZZLE:
            nursery.start_soon(swizzle, world, rng, 8 * size)
        case Kind.RESET:
            return world.network.reset_some(0.2 + 0.8 * size) > 0
        case Kind.CLOCK_JUMP:
            world.clock_offset_s = (size - 0.5) * 7200
        case Kind.SLOW_PEER:
            nursery.start_soon(be_slow, world, 5 + 30 * size)
        case Kind.GARBAGE:
            nursery.start_soon(send_garbage, world, rng)
        case _ if life is None or life.killed:
            return False
        case Kind.SLOW_STORE:
            life.weather.slow_s, life.weather.slow_until = 3 * size, now + 10
        case Kind.ERROR_BURST:
            life.weather.errors_until = now + 1 + 9 * size
            life.weather.failing = 0.5 if size < 0.5 else 1.0
        case Kind.HANG_STORE:
            life.weather.hangs_until = now + 1 + 14 * size
        case Kind.CRASH:
            return order_crash(world, fault.target)
        case Kind.CRASH_STORM:
            nursery.start_soon(crash_repeatedly, world, fault.target)
        case Kind.STUCK:
            life.unwind[fault.target] = 8 * size
            life.stuck_s += 8 * size
        case Kind.LEAP:
            world.leaps.append((now, 20 * size))
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, trio.testing.MockClock)
            clock.jump(20 * size)
        case Kind.CRASH_IN_CANCEL:
            order_crash(world, "grpc_api")  # the innermost: the others hear the cancellation only later
            world.cancel()
        case Kind.RELOAD | Kind.BAD_RELOAD | Kind.RELOAD_STORM:
            return reload(world, fault.kind)
    return True


def order_crash(world: World, name: str) -> bool:
    """Crash the service if it serves."""
    life = world.life
    if life is None or name not in life.serving:
        return False
    life.orders[name].set()
    return True


async def crash_repeatedly(world: World, name: str) -> None:
    """Crash it each time it serves again, more often than its intensity allows."""
    for _ in range(5):
        for _ in range(100):
            if order_crash(world, name):
                break
            await trio.sleep(0.25)
        await trio.sleep(0.5)


def reload(world: World, kind: Kind) -> bool:
    """SIGHUP, once or fifty times."""
    life = world.life
    if life is None or life.parts is None:
        return False
    world.bad_configuration = kind is Kind.BAD_RELOAD
    for _ in range(50 if kind is Kind.RELOAD_STORM else 1):
        life.parts.reloader.request()
    return True


async def partition(world: World, rng: random.Random, seconds: float) -> None:
    """Stall some links together, heal them together."""
    links = [link for link in world.network.links.values() if rng.random() < 0.7]
    for link in links:
        link.stall()
    await trio.sleep(seconds)
    for link in links:
        link.heal()


async def swizzle(world: World, rng: random.Random, seconds: float) -> None:
    """Stall a random subset one by one, heal it one by one in another order (FoundationDB's best bug finder)."""
    links = [link for link in world.network.links.values() if rng.random() < 0.8]
    for link in links:
        link.stall()
        await trio.sleep(rng.random() * seconds / 4)
    rng.shuffle(links)
    for link in links:
        await trio.sleep(rng.random() * seconds / 2)
        link.heal()


async def be_slow(world: World, seconds: float) -> None:
    """Ask for much and read nothing."""
    world.network.link("slow").window = SLOW_WINDOW
    try:
        stream = await world.network.connect("slow", REST)
        request = b"GET /api/v1/services HTTP/1.1\r\nHost: server\r\n\r\n"
        with trio.move_on_after(seconds):
            while True:
                await stream.send_all(request * 20)
        stream.reset()
    except (OSError, trio.BrokenResourceError):
        return


async def send_garbage(world: World, rng: random.Random) -> None:
    """Bytes that are no HTTP, and HTTP that is cut."""
    for garbage in (
        rng.randbytes(200),
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        b"PRI * HTTP/2.0\r\n",
    ):
        try:
            stream = await world.network.connect("garbage", REST)
            await stream.send_all(garbage)
            await trio.sleep(rng.random())
            stream.reset()
        except (OSError, trio.BrokenResourceError):
            continue
