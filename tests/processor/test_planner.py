"""When a policy is computed: by evidence, by time, and never faster than its cost allows."""

import msgspec

from optimizer.core import records
from optimizer.core.fold import State
from optimizer.model import FeedbackEvent
from optimizer.processor.planner import BYTES_PER_S, SHARE, SMALL, Planner
from optimizer.storage import Record
from tests.processor.conftest import SERVICE


class Bench:
    """A state that is fed by hand, and a planner whose computing takes as long as told."""

    def __init__(self, cost_s: float = 0.0) -> None:
        self.state, self.offset, self.cost_s, self.watch = State(), 0, cost_s, 0.0
        self.planner = Planner(lambda: 0, self.tick)
        self.put(records.SERVICE, records.encode(records.Declared("chat", 0, SERVICE)))

    def tick(self) -> float:
        self.watch += self.cost_s
        return self.watch

    def put(self, kind: str, payload: bytes) -> None:
        self.offset += 1
        self.state.apply(self.offset, kind, payload, {})

    def call(self, n: int = 1, task: str = "sum") -> None:
        for _ in range(n):
            event = FeedbackEvent(
                event_id=str(self.offset),
                service="chat",
                occurred_at=0,
                received_at=0,
                variant="a",
                quality=1.0,
                context={"task": task},
            )
            self.put(records.FEEDBACK, records.encode(event))

    def plan(self, clock: float) -> list[Record]:
        found = self.planner.plan(self.state, clock)
        for record in found:
            self.put(record.kind, record.payload)
        return found


def test_a_new_service_gets_a_policy_at_once_and_then_only_for_evidence() -> None:
    bench = Bench()
    assert len(bench.plan(0.0)) == 1
    assert bench.plan(100.0) == []
    bench.call(24)
    assert bench.plan(0.5) == []
    bench.call()
    assert len(bench.plan(0.5)) == 1


def test_less_evidence_waits_for_a_second() -> None:
    bench = Bench()
    bench.plan(0.0)
    bench.call()
    assert bench.plan(0.9) == []
    assert len(bench.plan(1.0)) == 1


def test_under_a_flood_the_steps_grow_with_their_cost() -> None:
    bench = Bench(cost_s=0.1)
    bench.plan(0.0)
    bench.call(1000)
    assert bench.plan(0.1 / SHARE - 0.01) == []
    assert len(bench.plan(0.1 / SHARE)) == 1


def test_the_log_is_not_filled_with_policies() -> None:
    bench = Bench()
    bench.plan(0.0)
    for i in range(400):
        bench.call(1, task=f"task {i}")
    (large,) = bench.plan(1.0)
    pause = (len(large.payload) - SMALL) / BYTES_PER_S
    assert pause > 0.01
    bench.call(1000)
    assert bench.plan(1.0 + pause * 0.9) == []
    assert len(bench.plan(1.0 + pause)) == 1


def test_a_new_declaration_does_not_wait() -> None:
    bench = Bench(cost_s=10.0)
    bench.plan(0.0)
    changed = msgspec.structs.replace(SERVICE, holdout=0.1)
    bench.put(records.SERVICE, records.encode(records.Declared("chat", 0, changed)))
    assert len(bench.plan(0.001)) == 1
