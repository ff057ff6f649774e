"""The breaker: its promises one by one, and an independent model under concurrent, failing and cancelled calls."""

from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.model import InvalidArgument
from optimizer.nurseries import Breaker, BreakerOpen, BreakerPolicy, BreakerState

POLICY = BreakerPolicy(minimum_calls=4, failure_ratio=0.5, window_s=20, window_calls=6, open_s=10, probes=2)


class Down(Exception):
    """The dependency is away."""


def fail(breaker: Breaker, error: type[Exception] = Down) -> None:
    with pytest.raises(error), breaker.guard():
        raise error("no")


def open_it(breaker: Breaker) -> None:
    for _ in range(breaker.policy.minimum_calls):
        fail(breaker)


async def test_it_opens_at_the_threshold_and_not_below_the_minimum(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)
    for _ in range(3):
        fail(breaker)
        assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    await trio.sleep(4)
    with pytest.raises(BreakerOpen, match="db") as refused, breaker.guard():
        pytest.fail("no call while open")
    assert refused.value.retry_after_s == 6
    assert breaker.refused == 1


async def test_old_failures_are_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)
    for _ in range(20):
        fail(breaker)
        await trio.sleep(7)
    assert breaker.state is BreakerState.CLOSED


async def test_exactly_the_probes_are_let_through_under_concurrency(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)
    open_it(breaker)
    await trio.sleep(10)
    inside, refused = [0], [0]

    async def call() -> None:
        try:
            with breaker.guard():
                inside[0] += 1
                await trio.sleep(1)
        except BreakerOpen:
            refused[0] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(call)
    assert (inside[0], refused[0]) == (2, 48)
    assert breaker.state is BreakerState.CLOSED


async def test_one_failing_probe_opens_it_anew(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)
    open_it(breaker)
    await trio.sleep(10)
    with breaker.guard():
        pass
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    await trio.sleep(9)
    assert breaker.state is BreakerState.OPEN


async def test_a_cancelled_call_counts_for_nothing_and_a_cancelled_probe_is_replaced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = Breaker("db", POLICY)
    for _ in range(20):
        with trio.move_on_after(0.1), breaker.guard():
            await trio.sleep_forever()
    open_it(breaker)
    await trio.sleep(10)
    for _ in range(5):
        with trio.move_on_after(0.1), breaker.guard():
            await trio.sleep_forever()
    states = [breaker.state]
    for _ in range(2):
        with breaker.guard():
            pass
        states.append(breaker.state)
    assert states == [BreakerState.HALF_OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


async def test_a_timeout_inside_the_guard_counts(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)
    for _ in range(4):
        with pytest.raises(trio.TooSlowError), breaker.guard(), trio.fail_after(1):
            await trio.sleep_forever()
    assert breaker.state is BreakerState.OPEN


async def test_an_answer_that_is_an_error_does_not_count() -> None:
    breaker = Breaker("db", POLICY, failures=(Down,))
    for _ in range(10):
        fail(breaker, InvalidArgument)
    assert breaker.state is BreakerState.CLOSED


async def test_a_group_counts_when_a_failure_is_in_it() -> None:
    breaker = Breaker("db", POLICY, failures=(Down,))
    for _ in range(4):
        with pytest.RaisesGroup(Down, InvalidArgument), breaker.guard():
            raise ExceptionGroup("both", [Down(), InvalidArgument("no")])
    assert breaker.state is BreakerState.OPEN


async def test_late_outcomes_of_an_earlier_state_count_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("db", POLICY)

    async def slow_failure() -> None:
        try:
            with breaker.guard():
                await trio.sleep(11)
                raise Down
        except Down:
            assert trio.current_time() == 11

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow_failure)
        await trio.sleep(0.5)
        open_it(breaker)
        await trio.sleep(10)
        with breaker.guard():
            await trio.sleep(2)  # meanwhile the slow call of the closed time fails
    assert breaker.state is BreakerState.HALF_OPEN


async def test_changes_are_told(autojump_clock: trio.testing.MockClock) -> None:
    told: list[tuple[str, BreakerState]] = []
    breaker = Breaker("db", POLICY, on_change=lambda name, state: told.append((name, state)))
    open_it(breaker)
    await trio.sleep(10)
    for _ in range(2):
        with breaker.guard():
            pass
    assert told == [("db", BreakerState.OPEN), ("db", BreakerState.HALF_OPEN), ("db", BreakerState.CLOSED)]


@dataclass
class Model:
    """The same rules, told from the sequence of all outcomes instead of by a state machine."""

    policy: BreakerPolicy
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    opened: float | None = None
    running_probes: set[int] = field(default_factory=set)
    passed: int = 0
    phase: int = 0

    def admits(self, call: int, now: float) -> tuple[bool, int]:
        if self.opened is None:
            return True, self.phase
        if now < self.opened + self.policy.open_s:
            return False, self.phase
        if self.phase % 3 == 1:  # open: the waiting time is over
            self.phase += 1
            self.running_probes, self.passed = set(), 0
        if len(self.running_probes) + self.passed >= self.policy.probes:
            return False, self.phase
        self.running_probes.add(call)
        return True, self.phase

    def ends(self, call: int, phase: int, now: float, outcome: str) -> None:
        if phase != self.phase:
            return
        if self.opened is not None:
            self.running_probes.discard(call)
            if outcome == "fail":
                self.opened, self.outcomes = now, []
                self.phase += 2
            elif outcome == "ok":
                self.passed += 1
                if self.passed == self.policy.probes:
                    self.opened, self.outcomes = None, []
                    self.phase += 1
            return
        if outcome == "cancel":
            return
        self.outcomes.append((now, outcome == "fail"))
        recent = [bad for at, bad in self.outcomes[-self.policy.window_calls :] if at > now - self.policy.window_s]
        enough = len(recent) >= self.policy.minimum_calls
        if outcome == "fail" and enough and sum(recent) / len(recent) >= self.policy.failure_ratio:
            self.opened = now
            self.phase += 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "ok", "fail", "fail", "cancel", "wait"]),
        st.integers(0, 5),
    ),
    max_size=120,
)


@settings(max_examples=400)
@given(STEPS)
def test_model(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        breaker, model = Breaker("db", POLICY), Model(POLICY)
        calls: list[tuple[int, int, trio.Event, list[str]]] = []

        async def call(order: trio.Event, outcome: list[str], admitted: list[bool]) -> None:
            try:
                with trio.CancelScope() as scope, breaker.guard():
                    admitted.append(True)
                    await order.wait()
                    if outcome == ["cancel"]:
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
                    if outcome == ["fail"]:
                        raise Down
            except BreakerOpen:
                admitted.append(False)
            except Down:
                assert outcome == ["fail"]

        async with trio.open_nursery() as nursery:
            for number, (step, argument) in enumerate(steps):
                now = trio.current_time()
                if step == "begin":
                    order, outcome, admitted = trio.Event(), list[str](), list[bool]()
                    expected, phase = model.admits(number, now)
                    nursery.start_soon(call, order, outcome, admitted)
                    await trio.testing.wait_all_tasks_blocked()
                    assert admitted == [expected]
                    if expected:
                        calls.append((number, phase, order, outcome))
                elif step == "wait":
                    await trio.sleep(argument * 1.7)
                elif calls:
                    call_number, phase, order, outcome = calls.pop(argument % len(calls))
                    outcome.append(step)
                    order.set()
                    await trio.testing.wait_all_tasks_blocked()
                    model.ends(call_number, phase, now, step)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
