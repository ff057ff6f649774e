"""One run: a seed in, what happened and what did not hold out."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from optimizer.core import records as kinds
from optimizer.security import load_keys
from optimizer.security.authenticator import make_tokens
from tests.simulation.clients import SERVICES, Client, Lost, Reply, run_client
from tests.simulation.clockwork import Tracer, branch, run_seeded
from tests.simulation.faults import Fault, plan, shrink
from tests.simulation.gremlins import run_plan
from tests.simulation.invariants import judge, watch
from tests.simulation.world import EPOCH_US, SETTINGS, World

CLIENTS = 3
ROUNDS = 7
HEALED_S = 30.0
FINISH_S = 150.0
IDLE_STOP_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run showed."""

    seed: int
    faults: tuple[Fault, ...]
    violations: tuple[str, ...]
    digest: str
    steps: int
    seconds: float
    seen: Counter[str]
    lives: int
    acknowledged: int
    decisions: int
    opened: int


def run_seed(seed: int, faults: Sequence[Fault] | None = None) -> Outcome:
    """Run one seed; with a plan given, that plan instead of the seed's own."""
    planned = plan(branch(seed, "plan")) if faults is None else tuple(faults)
    seen: Counter[str] = Counter()
    found: list[str] = []

    async def main(tracer: Tracer) -> World:
        world = World(seed, tracer)
        await play(world, planned, seen, found)
        return world

    world, tracer = run_seeded(main, seed)
    found += judge(world)
    return Outcome(
        seed=seed,
        faults=planned,
        violations=tuple(dict.fromkeys(found)),
        digest=tracer.digest,
        steps=tracer.steps,
        seconds=max((life.ended or 0.0) for life in world.lives),
        seen=seen,
        lives=len(world.lives),
        acknowledged=len(world.records.acknowledged),
        decisions=world.records.decisions,
        opened=sum(line.get("state") == "open" for life in world.lives for line in life.lines),
    )


def shrink_seed(seed: int) -> Outcome:
    """The same failure with as few faults as possible."""
    first = run_seed(seed)
    kind = {violation.split()[0] for violation in first.violations}
    smaller = shrink(first.faults, lambda f: bool(kind & {v.split()[0] for v in run_seed(seed, f).violations}))
    return run_seed(seed, smaller)


async def play(world: World, faults: Sequence[Fault], seen: Counter[str], found: list[str]) -> None:
    """Clients and faults together; then everything heals, and the world has to become whole again."""
    token = issue_token()
    await trio.lowlevel.checkpoint()
    outside = world.tracer.outside
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run_processes)
        nursery.start_soon(watch, world, found)
        async with trio.open_nursery() as busy:
            with trio.move_on_after(FINISH_S) as patience:
                async with trio.open_nursery() as clients:
                    for number in range(CLIENTS):
                        rng = branch(world.seed, f"client {number}")
                        client = world.client(f"app{number}", token)
                        clients.start_soon(run_client, client, world.records, rng, world.now, ROUNDS)
                    await run_plan(world, faults, branch(world.seed, "faults"), seen)
                    world.heal()
                    await expect_service(world, world.client("probe", token), found)
            if patience.cancelled_caught:
                found.append("I10 the clients never got everything acknowledged")
            busy.cancel_scope.cancel()
        await expect_totals(world, world.client("auditor", token), found)
        world.wanted = False
        world.terminate()
        life = world.life
        with trio.move_on_after(40) as patience:
            await world.gone.wait()
        if patience.cancelled_caught:
            found.append("I4 the process did not end after the last SIGTERM")
        elif life is not None and life.stop_at is not None and life.ended is not None:
            # Nothing is in flight; connections are open and idle. Virtual time: no machine is too slow for this.
            took = life.ended - life.stop_at
            if took > IDLE_STOP_S + life.stuck_s:
                found.append(f"I4 an idle stop took {took:.2f} s")
        nursery.cancel_scope.cancel()
    if world.tracer.outside != outside:
        found.append("D0 something came from outside the simulation: is a thread used?")


async def expect_service(world: World, client: Client, found: list[str]) -> None:
    """I10: within 30 s after everything has healed, decisions and feedback are answered again."""
    await world.settle()  # the service manager's restart is not the server's to answer for
    began = trio.current_time()
    for path in ("/health/ready", "/api/v1/services"):
        while True:
            with contextlib.suppress(Lost):
                if (await client.ask("GET", path)).status == 200:
                    break
            if trio.current_time() - began > HEALED_S:
                found.append(f"I10 {path} does not answer {HEALED_S:.0f} s after everything healed")
                return
            await trio.sleep(0.5)


async def expect_totals(world: World, client: Client, found: list[str]) -> None:
    """I2: what the report counts is what is in the log, each event once."""
    for service in SERVICES:
        want = sum(1 for e in world.state.entries if e.kind == kinds.FEEDBACK and e.key == service)
        got: object = None
        for _ in range(120):
            with contextlib.suppress(Lost):
                reply = await client.ask("GET", f"/api/v1/services/{service}/report")
                got = total(reply)
                if got == want:
                    break
            await trio.sleep(0.25)
        if got != want:
            found.append(f"I2 the report of {service} counts {got} events, the log has {want}")


def total(reply: Reply) -> object:
    """The number of events in a report."""
    if reply.status != 200:
        return f"status {reply.status}"
    totals = reply.json()["totals"]
    assert isinstance(totals, dict)
    return totals["events"]


def issue_token() -> str:
    """A token for everything, for ten years."""
    return make_tokens(SETTINGS, load_keys(SETTINGS)).issue(
        "simulation", ["admin"], now=EPOCH_US / 1e6 - 86400, ttl_s=3.2e8
    )
