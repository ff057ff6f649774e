"""Windows over calls are a function of the log: the same after a restart anywhere, and exact by the definition."""

import random
from decimal import Decimal

import msgspec
import pytest

from optimizer.core import records, windowing
from optimizer.core.windowing import CallWindows, decode_result, restore_windows, result_key, values_of
from optimizer.core.windows import WindowResult
from optimizer.model import FeedbackEvent, MetricSample, Objective, Service, Variant

SECOND, BASE = 1_000_000, 1_700_000_100_000_000
SPEC = Service(name="", objective=Objective(goal="minimize_cost"), variants=(Variant(name="a"),), baseline="a")
Log = list[tuple[str, bytes]]


def declare(name: str, at: int = BASE, gone: bool = False) -> tuple[str, bytes]:
    spec = None if gone else msgspec.structs.replace(SPEC, name=name)
    return records.SERVICE, records.encode(records.Declared(name, at, spec))


def call(service: str, at: float, arrived: float | None = None, **more: object) -> tuple[str, bytes]:
    """A call at `at` seconds after `BASE` that arrived then, or later."""
    event = FeedbackEvent(
        event_id="e",
        service=service,
        occurred_at=BASE + int(at * SECOND),
        received_at=BASE + int((at if arrived is None else arrived) * SECOND),
    )
    return records.FEEDBACK, records.encode(msgspec.structs.replace(event, **more))


def tick(at: float) -> tuple[str, bytes]:
    sample = MetricSample(name="m", value=1.0, timestamp=0, received_at=BASE + int(at * SECOND))
    return records.METRIC, records.encode(sample)


class Bench:
    """A fold whose documents are written whenever asked, as the task would."""

    def __init__(self, size_s: int = 60) -> None:
        self.size_s = size_s
        self.windows = CallWindows(size_s)
        self.stored: dict[str, bytes] = {}
        self.told: list[WindowResult] = []

    def fold(self, log: Log) -> None:
        for kind, payload in log:
            self.windows.apply(self.windows.cursor + 1, kind, payload)

    def write(self) -> None:
        for key, body in self.windows.documents():
            if body is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = body
        self.windows.settle()
        self.told += self.windows.told
        self.windows.told = []

    def restart(self, size_s: int | None = None) -> None:
        kept = [item for item in self.stored.items() if not item[0].startswith(windowing.RESULTS)]
        self.windows = restore_windows(size_s or self.size_s, self.windows.cursor, sorted(kept))

    def results(self, service: str) -> list[WindowResult]:
        prefix = windowing.results_of(service)
        return [decode_result(body) for key, body in sorted(self.stored.items()) if key.startswith(prefix)]


def traffic(seed: int) -> Log:
    """Four services, some with gaps, calls up to two minutes late, one service withdrawn and declared again."""
    rng, log, at = random.Random(seed), [declare(name) for name in "abcd"], 0.0
    for i in range(600):
        at += rng.expovariate(1.0) * (40 if i % 150 == 0 else 1.5)
        name = rng.choice("aaaabbc" if i > 200 else "abcd")
        late = rng.choice((0.0, 0.0, 0.0, 1.0, 4.0, 30.0, 130.0))
        error = "timeout" if rng.random() < 0.1 else None
        log.append(call(name, at - late, at, latency_ms=rng.expovariate(0.01), error_type=error, output_tokens=i))
        if i in (300, 310):
            log.append(declare("d", BASE + int(at * SECOND), gone=i == 300))
    return [*log, tick(at + 500), tick(at + 501)]


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_anywhere_changes_nothing(seed: int) -> None:
    log, rng = traffic(seed), random.Random(seed)
    whole, cut = Bench(), Bench()
    whole.fold(log)
    whole.write()
    for record in log:
        cut.fold([record])
        if rng.random() < 0.2:
            cut.write()
            cut.restart()
    cut.write()
    assert cut.told == whole.told
    assert {k: v for k, v in cut.stored.items() if k.startswith(windowing.RESULTS)} == {
        k: v for k, v in whole.stored.items() if k.startswith(windowing.RESULTS)
    }
    assert set(cut.stored) == set(whole.stored)
    assert len(whole.results("a")) > 5


@pytest.mark.parametrize("seed", range(4))
def test_every_call_is_in_its_window_or_counted_as_dropped(seed: int) -> None:
    log, bench = traffic(seed), Bench()
    bench.fold(log)
    bench.write()
    for service in "abc":
        events = [records.decode_feedback(p) for k, p in log if k == records.FEEDBACK]
        mine = [e for e in events if e.service == service]
        results = bench.results(service)
        late, dropped = bench.windows.counts(service)
        assert bench.windows.open_windows(service) == []  # the time that passed while it was silent has ended them
        assert sum(r.events for r in results) == len(mine) - dropped
        assert late >= dropped
        for r in results:
            assert r.start % (60 * SECOND) == 0
            assert r.events <= sum(r.start <= e.occurred_at < r.end for e in mine)


def test_the_numbers_of_a_window() -> None:
    bench = Bench()
    log = [declare("a"), call("a", 0, latency_ms=100.0, cost_usd=Decimal("0.5"), quality=1.0)]
    log += [call("a", 1, latency_ms=300.0, quality=0.5), call("a", 2, latency_ms=1.0, error_type="x"), call("b", 3)]
    bench.fold(log)
    (open_,) = bench.windows.open_windows("a")
    assert (open_.reason, open_.events, open_.start % (60 * SECOND)) == ("open", 3, 0)
    bench.fold([call("a", 70)])
    bench.write()
    (result,) = bench.results("a")
    assert result == msgspec.structs.replace(open_, reason="on_time")
    assert result.metrics["error"].mean == pytest.approx(1 / 3)
    assert result.metrics["latency_ms"].mean == pytest.approx(200.0)  # of the calls that did not fail
    assert result.metrics["quality"].mean == pytest.approx(0.75)
    assert (result.metrics["cost_usd"].count, result.metrics["cost_usd"].total) == (1, 0.5)
    assert "input_tokens" not in result.metrics
    assert bench.results("b") == []  # nobody declared it


def test_a_late_call_corrects_the_result() -> None:
    bench = Bench()
    bench.fold([declare("a"), call("a", 0), call("a", 70), call("a", 1, 80)])
    bench.write()
    (result,) = bench.results("a")
    assert [(r.revision, r.events, r.reason) for r in bench.told] == [(0, 1, "on_time"), (1, 2, "late")]
    assert result == bench.told[-1]
    bench.fold([call("a", 200), call("a", 2, 201)])
    assert bench.windows.counts("a") == (2, 1)


def test_a_clock_that_is_ahead_makes_nobody_late() -> None:
    bench = Bench()
    bench.fold([declare("a"), call("a", 3_000, 0), *(call("a", i) for i in range(1, 50))])
    assert bench.windows.counts("a") == (0, 0)
    assert [r.events for r in bench.windows.open_windows("a")] == [49, 1]


def test_the_oldest_results_go_and_with_a_service_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowing, "KEPT", 3)
    bench = Bench()
    bench.fold([declare("a"), *(call("a", 60 * i) for i in range(8))])
    bench.write()
    assert [r.start for r in bench.results("a")] == [BASE - BASE % (60 * SECOND) + 60 * SECOND * i for i in (3, 4, 5)]
    bench.fold([declare("a", gone=True)])
    bench.write()
    assert set(bench.stored) == {windowing.CLOCK}


def test_a_silent_crowd_is_closed_a_few_at_a_record_and_whole() -> None:
    bench, names = Bench(), [f"s{i:02}" for i in range(35)]
    bench.fold([*(declare(n) for n in names), *(call(n, 0) for n in names), tick(400)])
    assert len(bench.windows.told) == windowing.CLOSED_AT_ONCE
    assert bench.windows.full
    bench.write()
    bench.restart()
    bench.fold([tick(400 + i) for i in range(3)])
    bench.write()
    assert [r.key for r in bench.told] == names


def test_another_size_ends_what_was_open() -> None:
    bench = Bench()
    bench.fold([declare("a"), call("a", 0), call("a", 1)])
    bench.write()
    bench.restart(size_s=10)
    bench.fold([call("a", 2), call("a", 30)])
    bench.write()
    assert [(r.reason, r.events, r.end - r.start) for r in bench.told] == [
        ("flushed", 2, 60 * SECOND),
        ("on_time", 1, 10 * SECOND),
    ]
    assert len({result_key("a", r.start, r.end) for r in bench.told}) == 2


def test_a_value_that_is_not_a_number_is_not_known() -> None:
    event = records.decode_feedback(call("a", 0, quality=float("nan"), latency_ms=float("inf"))[1])
    assert {k: v for k, v in values_of(event).items() if v is not None} == {"error": 0.0}
