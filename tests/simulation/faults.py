"""What goes wrong, when: drawn from the seed before anything runs, so a plan can be printed, replayed and shrunk."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

NAMES = ("storage", "collector", "integrations", "processor", "rest_api", "grpc_api")


class Kind(Enum):
    """Every kind of fault; a campaign shows that each occurs."""

    CRASH = "crash of a service"
    CRASH_STORM = "crashes above the intensity"
    STUCK = "service that unwinds slowly"
    SLOW_STORE = "slow store"
    ERROR_BURST = "store errors, before and after the effect"
    HANG_STORE = "store hangs"
    PARTITION = "partition"
    SWIZZLE = "swizzle-clog"
    RESET = "connections reset"
    CLOCK_JUMP = "wall clock jumps"
    LEAP = "everything stands still, then time has passed"
    CANCEL = "tree cancelled at some step"
    CRASH_IN_CANCEL = "crash in the moment of a cancellation"
    RELOAD = "SIGHUP with a good configuration"
    BAD_RELOAD = "SIGHUP with a bad configuration"
    RELOAD_STORM = "SIGHUP storm"
    TERM = "SIGTERM at some step"
    SECOND_TERM = "second SIGTERM"
    KILL = "kill -9 at some step"
    SLOW_PEER = "peer that does not read"
    GARBAGE = "peer that sends garbage"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: at a time (and, for endings, some steps after it), on a target, with a size between 0 and 1."""

    at: float
    kind: Kind
    target: str
    size: float
    steps: int


def plan(rng: random.Random, *, length_s: float = 25.0) -> tuple[Fault, ...]:
    """The faults of one run, in order: none in some runs, a few in most, many in some."""
    count = rng.choice([0, 1, 2, 3, 4, 6, 9])
    kinds = list(Kind)
    faults = [
        Fault(
            at=round(rng.random() * length_s, 3),
            kind=rng.choice(kinds),
            target=rng.choice(NAMES),
            size=rng.random(),
            steps=rng.randrange(120),
        )
        for _ in range(count)
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def shrink(faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool]) -> tuple[Fault, ...]:
    """A plan with nothing that could be left out: one fault after the other is tried to be removed."""
    kept = list(faults)
    index = 0
    while index < len(kept):
        without = tuple(kept[:index] + kept[index + 1 :])
        if fails(without):
            kept = list(without)
        else:
            index += 1
    return tuple(kept)
