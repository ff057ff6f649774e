"""What a supervisor has to do, told by arithmetic from the script of its child: Erlang/OTP's rules, with backoff.

Independent of the implementation: no tasks, no events, only times. Also run at length by `tests/campaigns`.
"""

import random
from dataclasses import dataclass
from typing import Literal

import trio
from hypothesis import strategies as st

from optimizer.nurseries import (
    Backoff,
    Criticality,
    Happening,
    Intensity,
    Restart,
    RestartLimitExceeded,
    ServiceEvent,
    ServiceSpec,
    Supervisor,
)

Ending = Literal["crash", "return", "serve on", "fail to start"]
Told = list[tuple[float, Happening]]
HORIZON = 10_000.0


class Boom(Exception):
    """The crash of the child."""


@dataclass(frozen=True)
class Life:
    """One run of the child: seconds until `ending`, which comes before `started()` for "fail to start"."""

    seconds: int
    ending: Ending


@dataclass(frozen=True)
class Case:
    """A declaration, the lives of the child one after the other, and when it is told to stop (None: never)."""

    restart: Restart
    criticality: Criticality
    restarts: int
    period_s: int
    base_s: int
    cap_s: int
    revive_s: int | None
    leave_at: float | None
    lives: tuple[Life, ...]


LIVES = st.tuples(
    st.builds(Life, st.integers(0, 9), st.sampled_from(["crash", "return", "crash", "serve on", "fail to start"])),
    st.lists(
        st.builds(Life, st.integers(0, 40), st.sampled_from(["crash"] * 6 + ["return", "serve on", "fail to start"])),
        max_size=49,
    ),
).map(lambda both: (both[0], *both[1]))

CASES = st.builds(
    Case,
    restart=st.sampled_from(Restart),
    criticality=st.sampled_from(Criticality),
    restarts=st.integers(0, 4),
    period_s=st.integers(1, 90),
    base_s=st.integers(1, 4),
    cap_s=st.integers(4, 60),
    revive_s=st.none() | st.integers(1, 120),
    # Half seconds: never at the same time as anything else, so that no order of simultaneous things is assumed.
    leave_at=st.none() | st.integers(0, 400).map(lambda n: n + 0.5),
    lives=LIVES,
)


def expect(case: Case) -> tuple[Told, str]:
    """What has to be told, with times, and how the supervisor ends: "running", "done", "raised", "fell"."""
    told: Told = []
    restarts: list[float] = []
    now, leave = 0.0, HORIZON if case.leave_at is None else case.leave_at
    lives = [*case.lives, Life(0, "serve on")]
    for number, life in enumerate(lives):
        told.append((now, Happening.STARTING))
        if life.ending != "fail to start":
            told.append((now, Happening.STARTED))
        ends = HORIZON if life.ending == "serve on" else now + life.seconds
        if life.ending != "fail to start" and leave < ends:
            # Told to stop, the child returns, whatever it would have done later.
            told.append((leave, Happening.DONE))
            return told, "done"
        if ends >= HORIZON:
            return told, "running"
        now = ends
        if life.ending == "return" and case.restart is not Restart.PERMANENT:
            told.append((now, Happening.DONE))
            return told, "done"
        told.append((now, Happening.CRASHED))
        if leave < now:
            return told, "done"
        if number == 0 and life.ending == "fail to start":
            return told, "raised"
        recent = [at for at in restarts if at > now - case.period_s]
        if case.restart is Restart.TEMPORARY or len(recent) >= case.restarts:
            told.append((now, Happening.GIVEN_UP))
            if case.criticality is Criticality.FALL:
                return told, "fell"
            if case.restart is Restart.TEMPORARY or case.revive_s is None:
                return told, "done"
            delay = float(case.revive_s)
        else:
            restarts.append(now)
            delay = float(min(case.cap_s, case.base_s * 2 ** len(recent)))
        told.append((now, Happening.RESTARTING))
        if leave < now + delay:
            told.append((leave, Happening.DONE))
            return told, "done"
        now += delay
    raise AssertionError("the last life serves on")


def observe(case: Case) -> tuple[Told, str]:
    """The same from the real supervisor, in virtual time."""
    events: list[ServiceEvent] = []
    lives: list[Life] = [*case.lives]

    async def main() -> str:
        leave = trio.Event()

        async def child(*, task_status: trio.TaskStatus[None]) -> None:
            life = lives.pop(0) if lives else Life(0, "serve on")
            if life.ending == "fail to start":
                await trio.sleep(life.seconds)
                raise Boom
            task_status.started()
            with trio.move_on_after(HORIZON if life.ending == "serve on" else life.seconds):
                await leave.wait()
                return
            if life.ending == "crash":
                raise Boom

        async def say_leave() -> None:
            if case.leave_at is not None:
                await trio.sleep_until(case.leave_at)
                leave.set()

        spec = ServiceSpec(
            name="child",
            run=child,
            restart=case.restart,
            criticality=case.criticality,
            intensity=Intensity(restarts=case.restarts, period_s=case.period_s),
            backoff=Backoff(base_s=case.base_s, cap_s=case.cap_s, jitter=0.0),
            revive_s=case.revive_s,
            leave=leave,
        )
        how = "running"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_leave)
            with trio.move_on_at(HORIZON - 1):
                try:
                    await Supervisor(spec, observe=events.append, rng=random.Random(0)).run()
                    how = "done"
                except Boom:
                    how = "raised"
                except RestartLimitExceeded:
                    how = "fell"
            nursery.cancel_scope.cancel()
        return how

    ended = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return [(event.at, event.happening) for event in events], ended


def compare(case: Case) -> None:
    """Raises AssertionError where the supervisor and its model differ."""
    expected, seen = expect(case), observe(case)
    assert seen == expected
