"""The gate before a deployment: what logged choices say about serving one variant to everybody."""

from dataclasses import dataclass

from optimizer.core.offpolicy.estimates import Evaluation
from optimizer.core.offpolicy.gate import GateAnswer, GateRule, judge_gate


@dataclass(frozen=True, slots=True)
class DeploymentRule:
    """`max_loss` of mean quality that is acceptable, and how many effective rows it takes to call a loss shown."""

    max_loss: float = 0.03
    least_effective: float = 30.0


def judge_deployment(found: Evaluation | None, rule: DeploymentRule) -> GateAnswer:
    """Block when the log shows a loss beyond the limit, ask when it cannot exclude one or says too little.

    A staged rollout brings its own evidence from one percent of the traffic up, so a candidate that the log hardly
    knows is a question to a person, not a reason to refuse.
    """
    answer = judge_gate(found, GateRule(max_loss=rule.max_loss, block_effective=0.0, block_unsupported=1.0))
    if answer.answer == "block" and (found is None or found.effective < rule.least_effective):
        return GateAnswer("ask", answer.reasons)
    return answer
