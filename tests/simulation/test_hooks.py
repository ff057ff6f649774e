"""The private hooks of Trio's scheduler that determinism rests on are there and do what they did."""

import inspect
import random
from types import ModuleType

import trio
import trio._core._run as scheduler

from tests.simulation.clockwork import Tracer, run_seeded


def test_the_hooks_exist() -> None:
    assert isinstance(scheduler, ModuleType)
    assert isinstance(scheduler._r, random.Random)
    assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING in (True, False)
    source = inspect.getsource(scheduler.unrolled_run)
    assert "_ALLOW_DETERMINISTIC_SCHEDULING" in source
    assert "_r.shuffle(batch)" in source


def order_of(seed: int) -> list[int]:
    """The order in which ten tasks that are ready at once run."""
    seen: list[int] = []

    async def main(tracer: Tracer) -> None:
        async def note(number: int) -> None:
            seen.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(note, number)

    run_seeded(main, seed)
    return seen


def test_the_seed_decides_the_order() -> None:
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(50)}) > 40


def test_the_state_of_the_scheduler_is_given_back() -> None:
    before = (scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate())
    order_of(3)
    assert (scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()) == before
