"""Off-policy estimates against the truth of a simulated log, and the gate's answers."""

import numpy as np
import pytest

from optimizer.core.offpolicy import Evaluation, GateRule, Log, evaluate, judge_gate, read_log

TRUTH = np.array([[0.8, 0.6, 0.3], [0.4, 0.7, 0.5]])
LOGGING = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1]])
TARGET = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])


def simulate(rng: np.random.Generator, n: int, logging: np.ndarray = LOGGING) -> Log:
    segment = rng.integers(0, 2, n)
    variant = (rng.random((n, 1)) > logging.cumsum(axis=1)[segment]).sum(axis=1)
    reward = (rng.random(n) < TRUTH[segment, variant]).astype(float)
    return Log(segment, variant, logging[segment, variant], reward)


def test_estimates_are_unbiased_and_their_intervals_cover() -> None:
    rng = np.random.default_rng(3)
    value = float((TARGET * TRUTH).sum(axis=1).mean())
    gain = value - float((LOGGING * TRUTH).sum(axis=1).mean())
    found = [evaluate(simulate(rng, 400), TARGET) for _ in range(250)]
    for name in ("ips", "snips", "dr"):
        estimates = [getattr(e, name) for e in found]
        assert abs(np.mean([e.value for e in estimates]) - value) < 0.01
        assert np.mean([e.low <= value <= e.high for e in estimates]) >= 0.90
    assert np.mean([e.gain.low <= gain <= e.gain.high for e in found]) >= 0.90
    assert np.mean([e.dr.error for e in found]) < np.mean([e.ips.error for e in found])


def test_the_logging_policy_itself_has_full_overlap() -> None:
    found = evaluate(simulate(np.random.default_rng(1), 500), LOGGING)
    assert found.effective == pytest.approx(500)
    assert found.unsupported == 0.0
    assert found.largest_weight == pytest.approx(1.0)


def judged(target: list[list[float]], n: int = 3000, max_loss: float = 0.0) -> tuple[Evaluation, str, str]:
    found = evaluate(simulate(np.random.default_rng(2), n), np.array(target))
    answer = judge_gate(found, GateRule(max_loss=max_loss))
    return found, answer.answer, "; ".join(answer.reasons)


def test_a_clear_gain_is_allowed_and_a_clear_loss_blocked() -> None:
    assert judged([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])[1:] == ("allow", "")
    _, answer, reasons = judged([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert answer == "block"
    assert "loses" in reasons


def test_too_little_overlap_asks_or_blocks() -> None:
    _, answer, reasons = judged([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]], n=60)
    assert answer in ("ask", "block")
    assert "overlap" in reasons
    rng = np.random.default_rng(4)
    never = simulate(rng, 1000, np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]))
    found = evaluate(never, np.array([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]))
    assert found.unsupported == pytest.approx(0.5)
    assert judge_gate(found, GateRule(max_loss=1.0)).answer == "block"


def test_no_log_asks() -> None:
    assert judge_gate(None, GateRule()).answer == "ask"


def test_a_choice_without_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        read_log([(0, 0, 0.0, 1.0)])
    assert len(read_log([(0, 1, 0.5, 1.0)]).reward) == 1
