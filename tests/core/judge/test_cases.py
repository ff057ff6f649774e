"""Reported failures of other judges, each with the answer that ours must give."""

import msgspec
import pytest

from optimizer.core.judge import (
    Guardrail,
    Judge,
    JudgeSpec,
    Outcome,
    Verdict,
    broken,
    kept,
    observe,
    open_judge,
    verdicts,
)


def judged(control: list[float], canary: list[float], *, least: int = 5, margin: float = 0.1) -> tuple[Judge, Verdict]:
    """Feed both samples alternately to an ordinal guardrail (more is worse)."""
    judge = open_judge(JudgeSpec(guardrails=(Guardrail(metric="m", max_shift=margin),), min_events=least))
    for i in range(max(len(control), len(canary))):
        for candidate, values in ((False, control), (True, canary)):
            if i < len(values):
                observe(judge, Outcome(candidate=candidate, values={"m": values[i]}), 0.5)
    return judge, verdicts(judge)[0]


@pytest.mark.parametrize(
    ("control", "canary"),
    [
        ([1.0] * 10, [100.0] * 7 + [1.0] * 3),  # spinnaker 6278: passed in a "dead zone"
        ([1.0] * 10, [100, 1, 100, 100, 1, 100, 100, 100, 1, 100]),
        ([0.0] * 5, [1.0, 4.0, 2.0, 3.0, 1.0]),  # kayenta 799: zeros in the control
    ],
)
def test_clear_harm_is_worse(control: list[float], canary: list[float]) -> None:
    judge, verdict = judged(control, canary, margin=0.0)
    assert verdict.verdict == "worse"
    assert verdict.kept is False
    assert broken(judge)


def test_a_hint_of_harm_is_inconclusive_not_a_pass() -> None:
    """kayenta 426."""
    judge, verdict = judged([0.0] * 6, [0.0, 1.0, 2.0, 1.0, 0.0, 0.0])
    assert verdict.verdict == "inconclusive"
    assert not kept(judge)


def test_equal_location_with_another_spread_is_reported() -> None:
    """kayenta 780-1: the reporter wanted more than a pass."""
    control = [1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17]
    canary = [10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 17, 17.1, 17.2, 17.3, 17.4, 17.5, 17.6, 17.7]
    judge, verdict = judged([float(x) for x in control], canary)
    assert "spread changed" in verdict.notes
    assert not kept(judge)


def test_all_values_equal_is_equivalent_and_no_crash() -> None:
    """kayenta 301."""
    judge, verdict = judged([7.0] * 10, [7.0] * 10)
    assert verdict.verdict == "equivalent"
    assert kept(judge)


@pytest.mark.parametrize(
    "guardrail",
    [
        Guardrail(metric="m", max_shift=0.1),
        Guardrail(metric="quality", max_drop=0.03),
        Guardrail(metric="latency_ms", quantile=0.95, max=3000),
        Guardrail(metric="latency_ms", quantile=0.95, max_increase_ratio=1.2),
        Guardrail(metric="cost_usd", max_increase_ratio=1.1),
    ],
)
def test_no_canary_traffic_holds(guardrail: Guardrail) -> None:
    """argo 1905."""
    judge = open_judge(JudgeSpec(guardrails=(guardrail,), min_events=5))
    for _ in range(500):
        observe(judge, Outcome(candidate=False, values={guardrail.metric: 1.0}), 0.5)
    verdict = verdicts(judge)[0]
    assert verdict.verdict == "inconclusive"
    assert verdict.events == 0
    assert not kept(judge)
    assert not broken(judge)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.75])
def test_state_serialises_to_the_same_bytes_and_goes_on_alike(share: float) -> None:
    rails = (
        Guardrail(metric="quality", max_drop=0.03),
        Guardrail(metric="latency_ms", quantile=0.95, max=3000),
        Guardrail(metric="latency_ms", quantile=0.95, max_increase_ratio=1.2),
        Guardrail(metric="cost_usd", max_increase_ratio=1.1),
        Guardrail(metric="m", max_shift=0.1),
    )
    judge = open_judge(JudgeSpec(guardrails=rails, limit=500, by_segment=True))
    period = round(1 / share)
    for i in range(600):
        values = {
            "quality": float(i % 3 > 0),
            "latency_ms": 100.0 + 7 * i % 11,
            "cost_usd": (i % 4) * 0.01,
            "m": float(i % 7),
        }
        observe(judge, Outcome(candidate=i % period == 0, values=values, segment=f"s{i % 2}"), share)
        if i == 300:
            copy = msgspec.msgpack.decode(msgspec.msgpack.encode(judge), type=Judge)
        if i > 300:
            observe(copy, Outcome(candidate=i % period == 0, values=values, segment=f"s{i % 2}"), share)
    assert msgspec.msgpack.encode(copy) == msgspec.msgpack.encode(judge)
    assert verdicts(copy) == verdicts(judge)
