"""The vectorised judge of the benches is the judge, number for number."""

import numpy as np
import pytest

from bench.decisions import FAMILIES, Family
from bench.fleet import Fleet
from optimizer.core.judge.contrast import add_value, open_means
from optimizer.core.judge.guardrail import rule_of


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_fleet_agrees_with_the_judge(family: Family) -> None:
    rng, size, limit = np.random.default_rng(1), 4, 200
    fleet = Fleet(family.guardrail, limit, 0.05, size)
    states = [open_means(family.guardrail, float(limit), 0.05, 0.05) for _ in range(size)]
    rule = rule_of(family.guardrail, float(limit))
    for _ in range(limit):
        baseline, candidate = family.draw(rng, size, family.baseline), family.draw(rng, size, family.harmful)
        fleet.step(baseline, candidate)
        for i, state in enumerate(states):
            add_value(state, rule, False, float(baseline[i]))
            add_value(state, rule, True, float(candidate[i]))
    for i, state in enumerate(states):
        assert state.blocks > 50
        assert fleet.alarm.logs[:, i] == pytest.approx(state.alarm.logs, rel=1e-6, abs=1e-9)
        assert fleet.proof.logs[:, i] == pytest.approx(state.proof.logs, rel=1e-6, abs=1e-9)
