"""The declared error rates hold at every look, for arms in any order, for any split and any distribution."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.judge import (
    Guardrail,
    JudgeSpec,
    Outcome,
    broken,
    kept,
    observe,
    open_judge,
    segment_verdicts,
    verdicts,
)
from optimizer.core.judge.interval import Stream, bounds
from optimizer.core.judge.quantile import Cells, quantile_bounds
from optimizer.core.judge.shares import Shares, count, mismatch
from optimizer.core.judge.wager import Wager, bet, open_wager, plan_alarm, plan_proof, slope

ALPHA = 0.2  # a large level needs few simulations to be contradicted


def at_most(errors: int, runs: int, level: float) -> bool:
    """Whether so many errors are plausible (3.5 standard deviations) at the level."""
    return errors <= runs * level + 3.5 * math.sqrt(runs * level * (1 - level))


Draw = Callable[[random.Random], float]
NULLS: dict[str, tuple[Guardrail, Draw, Draw]] = {
    "pass/fail": (Guardrail(metric="quality", max_drop=0.1), lambda r: r.random() < 0.9, lambda r: r.random() < 0.8),
    "rare failures": (
        Guardrail(metric="error_rate", max_increase=0.02),
        lambda r: r.random() < 0.01,
        lambda r: r.random() < 0.03,
    ),
    "scores": (Guardrail(metric="quality", max_drop=0.0), lambda r: r.betavariate(8, 1), lambda r: r.betavariate(8, 1)),
    "heavy tail": (
        Guardrail(metric="cost_usd", max_increase_ratio=1.2),
        lambda r: r.paretovariate(1.5),
        lambda r: 1.2 * r.paretovariate(1.5),
    ),
    "mostly free": (
        Guardrail(metric="cost_usd", max_increase_ratio=1.5),
        lambda r: r.lognormvariate(0, 1) if r.random() < 0.3 else 0.0,
        lambda r: 1.5 * r.lognormvariate(0, 1) if r.random() < 0.3 else 0.0,
    ),
    "quantile": (
        Guardrail(metric="latency_ms", quantile=0.9, max=9.0),
        lambda _: 0.0,
        lambda r: 9.5 if r.random() < 0.1 else 1.0,
    ),
    "order": (Guardrail(metric="m", max_shift=0.0), lambda r: r.gauss(0, 1), lambda r: r.gauss(0, 1)),
}


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("name", NULLS)
def test_at_the_bound_neither_error_exceeds_its_level(name: str, share: float) -> None:
    guardrail, base, cand = NULLS[name]
    runs, back, good = 60, 0, 0
    for seed in range(runs):
        rng = random.Random(f"{name}{share}{seed}")
        judge = open_judge(JudgeSpec(guardrails=(guardrail,), alpha=ALPHA, limit=200, min_events=5))
        was_broken = was_kept = False
        for _ in range(round(200 / share)):
            candidate = rng.random() < share
            value = float((cand if candidate else base)(rng))
            observe(judge, Outcome(candidate=candidate, values={guardrail.metric: value}), share)
            if candidate:
                was_broken = was_broken or broken(judge)
                was_kept = was_kept or kept(judge)
        back += was_broken
        good += was_kept
    assert at_most(back, runs, ALPHA)
    assert at_most(good, runs, ALPHA)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=60),
    st.sampled_from([20.0, 200.0, 5000.0, None]),
    st.floats(0.001, 0.5),
)
def test_a_wager_never_loses_everything_and_expects_nothing_under_the_null(
    gains: list[float], limit: float | None, alpha: float
) -> None:
    plan = plan_alarm(limit)
    wager = open_wager(plan, alpha)
    assert not wager.rejects
    for step, gain in enumerate(gains):
        up, down = Wager(list(wager.logs)), Wager(list(wager.logs))
        bet(up, plan, gain, lowest=-1.0, variance=0.2, step=step)
        bet(down, plan, -gain, lowest=-1.0, variance=0.2, step=step)
        fair = [(math.exp(a) + math.exp(b)) / 2 for a, b in zip(up.logs, down.logs, strict=True)]
        assert fair == pytest.approx([math.exp(x) for x in wager.logs], rel=1e-9)
        bet(wager, plan, gain, lowest=-1.0, variance=0.2, step=step)
        assert all(math.isfinite(x) for x in wager.logs)


def test_plans_spend_the_level_once() -> None:
    for limit in (None, 10.0, 100.0, 850.0, 1e6):
        for plan in (plan_alarm(limit), plan_proof(limit)):
            assert sum(plan.weights) == pytest.approx(1.0)
            assert len(plan.weights) == len(plan.horizons)


def test_the_slope_is_the_normal_hazard() -> None:
    for u in (0.1, 0.5, 1.0, 2.0, 3.0, 4.0):
        tail = math.erfc(u / math.sqrt(2.0)) / 2.0
        hazard = math.exp(-u * u / 2.0) / math.sqrt(2.0 * math.pi) / tail
        assert slope(-math.log(2.0 * tail)) == pytest.approx(hazard, rel=0.03)


def test_the_interval_covers_at_all_times_and_narrows() -> None:
    missed, runs = 0, 80
    for seed in range(runs):
        rng, stream, out = random.Random(seed), Stream(), False
        for n in range(1, 400):
            stream.add(float(rng.random() < 0.3))
            if n % 7 == 0:
                low, high = bounds(stream, 0.0, 1.0, ALPHA)
                out = out or not low <= 0.3 <= high
        missed += out
        assert high - low < 0.2
    assert at_most(missed, runs, ALPHA)


def test_the_quantile_sequence_covers_at_all_times() -> None:
    missed, runs = 0, 60
    truth = math.exp(1.2816)
    for seed in range(runs):
        rng, cells, out = random.Random(seed), Cells(), False
        for n in range(1, 600):
            cells.add(rng.lognormvariate(0.0, 1.0))
            if n % 25 == 0:
                low, high = quantile_bounds(cells, 0.9, ALPHA)
                out = out or not low <= truth <= high
        missed += out
        assert high < 10.0
    assert at_most(missed, runs, ALPHA)


def test_slower_at_the_quantile_is_worse_and_alike_is_kept() -> None:
    for factor, word in ((2.0, "worse"), (1.0, "equivalent"), (0.5, "better")):
        rng = random.Random(8)
        rail = Guardrail(metric="latency_ms", quantile=0.5, max_increase_ratio=1.5)
        judge = open_judge(JudgeSpec(guardrails=(rail,)))
        for i in range(4000):
            value = rng.lognormvariate(5.0, 0.5) * (factor if i % 2 else 1.0)
            observe(judge, Outcome(candidate=i % 2 == 1, values={"latency_ms": value}), 0.5)
        assert verdicts(judge)[0].verdict == word


def test_the_sample_ratio_check_is_quiet_when_right_and_speaks_when_wrong() -> None:
    alarms = 0
    for seed in range(60):
        rng, shares, alarm = random.Random(seed), Shares(), False
        for i in range(1500):
            hit = rng.random() < (0.05 if i < 500 else 0.5)
            count(shares, 0.05 if i < 500 else 0.5, not hit, hit)
            alarm = alarm or mismatch(shares)
        alarms += alarm
    assert alarms <= 2
    rng, shares = random.Random(1), Shares()
    for _ in range(3000):
        hit = rng.random() < 0.42
        count(shares, 0.5, not hit, hit)
    assert mismatch(shares)


def test_several_guardrails_and_segments_share_the_level() -> None:
    rails = (Guardrail(metric="quality", max_drop=0.03), Guardrail(metric="error_rate", max_increase=0.02))
    judge = open_judge(JudgeSpec(guardrails=rails, alpha=0.05, by_segment=True))
    for i in range(200):
        observe(
            judge, Outcome(candidate=i % 2 == 0, values={"quality": 1.0, "error_rate": 0.0}, segment=f"s{i % 40}"), 0.5
        )
    whole, parts = verdicts(judge), segment_verdicts(judge)
    assert sum(v.alpha for v in whole) == pytest.approx(0.025)
    assert sum(v.alpha for v in parts) < 0.025
    assert len(judge.segments) == 16


def test_a_slice_that_loses_shows_although_the_whole_wins() -> None:
    """Simpson: more traffic of the easy segment hides the hard one."""
    rng = random.Random(3)
    rail = Guardrail(metric="quality", max_drop=0.03)
    judge = open_judge(JudgeSpec(guardrails=(rail,), by_segment=True, min_events=50))
    for _ in range(3000):
        candidate, hard = rng.random() < 0.5, rng.random() < 0.2
        rate = (0.2 if candidate else 0.7) if hard else (0.9 if candidate else 0.7)
        segment = "hard" if hard else "easy"
        observe(
            judge, Outcome(candidate=candidate, values={"quality": float(rng.random() < rate)}, segment=segment), 0.5
        )
    assert verdicts(judge)[0].verdict in ("better", "equivalent")
    assert {v.segment: v.verdict for v in segment_verdicts(judge)}["hard"] == "worse"
    assert broken(judge)
