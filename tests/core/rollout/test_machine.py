"""The rollout machine: every way through it, its history, and that nothing promotes without proof."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.judge import Guardrail, Outcome
from optimizer.core.rollout import (
    Command,
    Observed,
    Rollout,
    RolloutSpec,
    Route,
    Tick,
    admit,
    apply,
    apply_all,
    describe,
    explain,
    place_of,
    sees_candidate,
    start,
    waiting_for,
)
from optimizer.model import Conflict, FailedPrecondition, InvalidArgument, ResourceExhausted

QUALITY = Guardrail(metric="quality", max_drop=0.03)
S = 1_000_000


def spec(**changes: object) -> RolloutSpec:
    given = {
        "service": "s",
        "baseline": "a",
        "candidate": "b",
        "guardrails": (QUALITY,),
        "stage_min_s": 0.0,
        "timeout_s": None,
    }
    return msgspec.convert({**given, **changes}, RolloutSpec)


def begin(**changes: object) -> Rollout:
    return start("r1", spec(**changes), "salt", 0)[0]


def drive(rollout: Rollout, before: float, after: float, *, seed: int = 1, most: int = 4000) -> Rollout:
    """Feed Bernoulli outcomes at the machine's own share until it is over."""
    rng = random.Random(seed)
    now = rollout.stage_at
    for _ in range(most):
        now += S
        candidate = rng.random() < rollout.share
        quality = float(rng.random() < (after if candidate else before))
        rollout, _ = apply(rollout, Observed(now, Outcome(candidate=candidate, values={"quality": quality}, at=now)))
        if rollout.status != "running":
            break
    return rollout


def events(rollout: Rollout) -> list[str]:
    return [entry.event for entry in rollout.history]


def test_a_better_candidate_climbs_every_stage_and_is_promoted() -> None:
    done = drive(begin(stages=[25, 50, 100], stage_min_events=50), 0.7, 0.9)
    assert done.status == "promoted"
    assert events(done) == ["started", "advanced", "advanced", "promoted"]
    assert [entry.share for entry in done.history] == [0.25, 0.5, 1.0, 1.0]
    assert done.history[-1].verdicts[0].kept is True


def test_a_worse_candidate_is_taken_back_with_the_numbers_behind_it() -> None:
    done = drive(begin(stages=[5, 50, 100]), 0.9, 0.5)
    assert done.status == "rolled_back"
    assert done.share == 0.0
    last = done.history[-1]
    assert last.verdicts[0].verdict == "worse"
    assert last.verdicts[0].interval[1] is not None
    assert last.verdicts[0].interval[1] <= -0.03
    assert "rolled_back" in explain(done)[-1]


def test_the_last_comparison_is_held_until_the_proof_and_max_events_end_it() -> None:
    done = drive(begin(stages=[50, 100], stage_min_events=50, max_events=200), 0.8, 0.78)
    assert done.status == "inconclusive"
    assert events(done) == ["started", "inconclusive"]
    assert max(done.calls) == 200


def test_lack_of_data_never_promotes() -> None:
    rollout = begin(timeout_s=3600, stage_min_s=300)
    for minute in range(1, 60):
        rollout, effects = apply(rollout, Tick(minute * 60 * S))
        assert not effects
    assert "no candidate traffic" in str(waiting_for(rollout, 0))
    rollout, effects = apply(rollout, Tick(3600 * S))
    assert rollout.status == "inconclusive"
    assert Route("s", "r1", "b", 0.0, "salt", True) in effects


def test_candidate_traffic_without_the_metric_never_promotes() -> None:
    rollout = begin(stages=[50, 100], stage_min_events=10, max_events=100)
    for i in range(400):
        rollout, _ = apply(rollout, Observed(i, Outcome(candidate=i % 2 == 0, values={"latency_ms": 5.0})))
    assert rollout.status == "inconclusive"


def test_a_stage_lasts_its_least_time() -> None:
    rollout = begin(stage_min_s=300, stages=[50, 75, 100], stage_min_events=5)
    for i in range(100):
        rollout, _ = apply(rollout, Observed(i * S, Outcome(candidate=i % 2 == 0, values={"quality": 1.0})))
    assert rollout.stage == 0
    assert "time" in str(waiting_for(rollout, 100 * S))
    rollout, effects = apply(rollout, Tick(300 * S))
    assert rollout.stage == 1
    assert effects[0] == Route("s", "r1", "b", 0.75, "salt", False)


def test_without_auto_each_step_waits_for_an_approval() -> None:
    rollout = drive(begin(auto=False, stages=[50, 100], stage_min_events=20), 0.6, 0.95, most=600)
    assert rollout.awaiting == "advance"
    assert rollout.stage == 0
    rollout, effects = apply(rollout, Command(10**10, "approve", "ann"))
    assert rollout.stage == 1
    assert isinstance(effects[0], Route)
    rollout = drive(rollout, 0.6, 0.95, most=100)
    assert rollout.awaiting == "promote"
    rollout, _ = apply(rollout, Command(10**10, "approve", "ann"))
    assert rollout.status == "promoted"
    assert rollout.history[-1].actor == "ann"
    with pytest.raises(FailedPrecondition):
        apply(rollout, Command(10**10, "approve", "ann"))


def test_pause_holds_the_share_and_stops_the_clocks() -> None:
    rollout = begin(timeout_s=100, stage_min_s=10)
    rollout, _ = apply(rollout, Command(50 * S, "pause", "ann", "lunch"))
    rollout, _ = apply(rollout, Tick(500 * S))
    assert rollout.status == "paused"
    assert rollout.share == 0.01
    rollout, _ = apply(rollout, Command(500 * S, "resume", "ann"))
    rollout, _ = apply(rollout, Tick(549 * S))
    assert rollout.status == "running"
    rollout, _ = apply(rollout, Tick(550 * S))
    assert rollout.status == "inconclusive"


def test_a_paused_rollout_is_still_taken_back() -> None:
    rollout, _ = apply(begin(stages=[50, 100]), Command(1, "pause", "ann"))
    for i in range(200):
        outcome = Outcome(candidate=i % 2 == 0, values={"quality": float(i % 2)})
        rollout, _ = apply(rollout, Observed(i, outcome))
    assert rollout.status == "rolled_back"


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("rollback", "rolled_back")])
def test_commands_end_it_with_their_reason(action: str, status: str) -> None:
    rollout, effects = apply(
        begin(),
        msgspec.convert({"type": "Command", "now": 5, "action": action, "actor": "bob", "reason": "cost"}, Command),
    )
    assert rollout.status == status
    assert rollout.history[-1].reason == "cost"
    assert isinstance(effects[0], Route)
    assert effects[0].share == 0.0
    for late in ("pause", "resume", "cancel", "approve", "rollback"):
        with pytest.raises(FailedPrecondition):
            apply(rollout, msgspec.convert({"type": "Command", "now": 6, "action": late, "actor": "x"}, Command))


def test_a_promoted_candidate_can_be_rolled_back_by_hand() -> None:
    done = drive(begin(stages=[50, 100], stage_min_events=50), 0.6, 0.95)
    assert done.status == "promoted"
    back, effects = apply(done, Command(10**10, "rollback", "bob", "complaints"))
    assert back.status == "rolled_back"
    assert back.history[-1].reason == "complaints"
    assert isinstance(effects[0], Route)
    assert effects[0].share == 0.0


def test_apply_leaves_the_given_state_untouched_and_batches_agree() -> None:
    rollout = begin(stages=[50, 100], stage_min_events=20)
    before = msgspec.msgpack.encode(rollout)
    rng = random.Random(3)
    inputs = [Observed(i, Outcome(candidate=rng.random() < 0.5, values={"quality": rng.random()})) for i in range(300)]
    one = rollout
    for event in inputs:
        one, _ = apply(one, event)
    many, _ = apply_all(rollout, inputs)
    assert msgspec.msgpack.encode(rollout) == before
    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(many)
    assert msgspec.msgpack.encode(many) == msgspec.msgpack.encode(
        msgspec.msgpack.decode(msgspec.msgpack.encode(many), type=Rollout)
    )


def test_a_new_response_model_marks_and_restarts_the_comparison() -> None:
    rollout = begin(stages=[50, 100])
    for i in range(200):
        model = "m-1" if i < 150 else "m-2"
        outcome = Outcome(candidate=i % 2 == 0, values={"quality": float(i % 3 > 0)}, fingerprint=model)
        rollout, _ = apply(rollout, Observed(i, outcome))
    assert [mark.kind for mark in rollout.judge.marks] == ["response_model", "response_model"]
    assert describe(rollout, 0)["marks"]
    assert [mark.restarted for mark in rollout.judge.marks] == [True, False]  # both arms got it: one new comparison
    assert rollout.judge.levels[0] == 0.05 / 2


def test_a_sample_ratio_mismatch_holds_the_rollout() -> None:
    rollout = begin(stages=[50, 100], stage_min_events=50)
    for i in range(800):
        candidate = i % 4 == 0
        rollout, _ = apply(
            rollout,
            Observed(i, Outcome(candidate=candidate, values={"quality": float(not candidate) * 0.5 + 0.5 * candidate})),
        )
    assert rollout.judge.unbalanced
    assert rollout.stage == 0
    assert "sample-ratio" in str(waiting_for(rollout, 0))


def test_admission() -> None:
    with pytest.raises(Conflict):
        admit(spec(), [spec(candidate="c")], 5)
    with pytest.raises(ResourceExhausted):
        admit(spec(), [spec(service="x"), spec(service="y")], 2)
    admit(spec(), [spec(service="x")], 2)


@pytest.mark.parametrize(
    "bad",
    [
        {"stages": []},
        {"stages": [50, 25]},
        {"stages": [0, 100]},
        {"stages": [50, 101]},
        {"candidate": "a"},
        {"guardrails": []},
        {"guardrails": [{"metric": "quality"}]},
        {"guardrails": [{"metric": "quality", "max_drop": 0.1, "min": 0.5}]},
        {"guardrails": [{"metric": "quality", "max_drop": 3}]},
        {"guardrails": [{"metric": "latency_ms", "max": 3, "quantile": 95}]},
        {"guardrails": [{"metric": "latency_ms", "max_drop": 3, "quantile": 0.5}]},
        {"alpha": 0},
        {"max_events": 10},
        {"stage_min_events": 0},
        {"timeout_s": 0},
    ],
)
def test_bad_requests_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        start("r", spec(**bad), "salt", 0)


@given(st.text(min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_who_is_in_stays_in(key: str, share: float, other: float) -> None:
    low, high = sorted((share, other))
    assert not sees_candidate("salt", key, low) or sees_candidate("salt", key, high)


def test_places_are_uniform_and_new_with_every_salt() -> None:
    places = [place_of("one", f"user-{i}") for i in range(4000)]
    others = [place_of("two", f"user-{i}") for i in range(4000)]
    assert abs(sum(place < 0.05 for place in places) / 4000 - 0.05) < 0.012
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(places, others, strict=True)) / 4000
    assert abs(both - 0.25) < 0.03


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["good", "bad", "tick", "pause", "resume", "approve"]), max_size=120), st.booleans())
def test_any_sequence_of_inputs_leaves_a_legal_history(steps: list[str], auto: bool) -> None:
    rollout = begin(stages=[10, 50, 100], stage_min_events=5, stage_min_s=1, auto=auto, timeout_s=200)
    stage = 0
    for i, step in enumerate(steps):
        now = (i + 1) * S
        try:
            if step in ("good", "bad"):
                values = {"quality": float(step == "good" or i % 2)}
                rollout, _ = apply(rollout, Observed(now, Outcome(candidate=i % 2 == 0, values=values)))
            elif step == "tick":
                rollout, _ = apply(rollout, Tick(now))
            else:
                rollout, _ = apply(
                    rollout, msgspec.convert({"type": "Command", "now": now, "action": step, "actor": "x"}, Command)
                )
        except FailedPrecondition:
            continue
        assert stage <= rollout.stage <= stage + 1
        stage = rollout.stage
    advanced = [entry.stage for entry in rollout.history if entry.event == "advanced"]
    assert advanced == sorted(set(advanced))
    assert [entry.at for entry in rollout.history] == sorted(entry.at for entry in rollout.history)
    assert sum(entry.status not in ("running", "paused") for entry in rollout.history) <= 1
