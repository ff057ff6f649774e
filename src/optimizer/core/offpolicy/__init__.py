"""The off-policy gate: a proposed policy is evaluated on logged traffic before any user sees it."""

from optimizer.core.offpolicy.deployment import DeploymentRule as DeploymentRule
from optimizer.core.offpolicy.deployment import judge_deployment as judge_deployment
from optimizer.core.offpolicy.estimates import Estimate as Estimate
from optimizer.core.offpolicy.estimates import Evaluation as Evaluation
from optimizer.core.offpolicy.estimates import Floats as Floats
from optimizer.core.offpolicy.estimates import Log as Log
from optimizer.core.offpolicy.estimates import evaluate as evaluate
from optimizer.core.offpolicy.estimates import read_log as read_log
from optimizer.core.offpolicy.gate import GateAnswer as GateAnswer
from optimizer.core.offpolicy.gate import GateRule as GateRule
from optimizer.core.offpolicy.gate import judge_gate as judge_gate
