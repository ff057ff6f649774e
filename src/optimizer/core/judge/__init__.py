"""The judge: anytime-valid verdicts on a candidate against its baseline (docs/statistics.md)."""

from optimizer.core.judge.guardrail import Guardrail as Guardrail
from optimizer.core.judge.guardrail import Outcome as Outcome
from optimizer.core.judge.guardrail import values_of as values_of
from optimizer.core.judge.panel import Judge as Judge
from optimizer.core.judge.panel import JudgeSpec as JudgeSpec
from optimizer.core.judge.panel import Mark as Mark
from optimizer.core.judge.panel import broken as broken
from optimizer.core.judge.panel import kept as kept
from optimizer.core.judge.panel import observe as observe
from optimizer.core.judge.panel import open_judge as open_judge
from optimizer.core.judge.panel import segment_verdicts as segment_verdicts
from optimizer.core.judge.panel import verdicts as verdicts
from optimizer.core.judge.verdict import Verdict as Verdict
