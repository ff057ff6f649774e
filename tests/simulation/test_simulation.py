"""The whole server under seeded faults keeps its promises (the long form is the campaign `simulation`)."""

import pytest

from tests.simulation.campaign import explain, run_many
from tests.simulation.faults import Fault, Kind, shrink

CI_SEEDS = 300


@pytest.mark.timeout(900)
def test_every_seed_keeps_every_promise_and_every_fault_happens() -> None:
    summary = run_many(range(CI_SEEDS))
    assert not summary.failed, explain(summary.failed[0][0])
    assert summary.runs == CI_SEEDS
    assert summary.missing() == []
    assert summary.acknowledged > 10 * CI_SEEDS
    assert summary.lives > CI_SEEDS


def test_a_plan_is_shrunk_to_what_matters() -> None:
    faults = [Fault(float(i), kind, "storage", 0.5, 0) for i, kind in enumerate(Kind)]
    needed = {Kind.KILL, Kind.SLOW_STORE}
    kept = shrink(faults, lambda plan: needed <= {fault.kind for fault in plan})
    assert {fault.kind for fault in kept} == needed
    assert len(kept) == 2
