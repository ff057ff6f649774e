"""The peers do what their papers promise, and regret counts what it says."""

import random

from bench.bandit import play, world_of
from bench.choosers import Gift, LinUCB, TrackAndStop
from bench.policy import Chooser, Data, Outcome

REWARDS = (0.2, 0.5, 0.9)
DATA = Data("d", ("a", "b", "c"), ("s",), (tuple(Outcome(q, 0.0, 0.0) for q in REWARDS),))


def shares(chooser: Chooser, calls: int) -> list[int]:
    rng, counts = random.Random(2), [0, 0, 0]
    for i in range(calls):
        v = chooser.choose("s", rng.random())
        counts[v] += i >= calls // 2
        chooser.take("s", v, float(rng.random() < REWARDS[v]) if i % 4 else None, 0.0, 1.0)
    return counts


def test_track_and_stop_commits_to_the_best() -> None:
    chooser = TrackAndStop(DATA, Gift(1.0, 0.0))
    assert shares(chooser, 1_000) == [0, 0, 500]
    assert chooser.found == {"s": 2}


def test_lin_ucb_turns_to_the_best() -> None:
    counts = shares(LinUCB(DATA, Gift(1.0, 0.0)), 1_000)
    assert counts[2] > 450


def test_the_target_is_no_dearer_than_the_best_and_quality_has_a_price() -> None:
    for seed in range(5):
        world = world_of(random.Random(seed))
        target, price = world.target()
        assert 0 < target <= world.data().mean(world.best())[1] * 1.000_001
        assert price >= 0


def test_always_the_best_never_lacks_quality_and_pays_for_it() -> None:
    found = play("always the best", "stationary", "t", 1_000)
    assert (found.blocks, found.below, found.lack) == (2, 0, 0.0)
    assert found.paid >= found.needed
