"""Whether a proposed policy may go to users, may go after somebody agreed, or may not: from logged traffic alone."""

from dataclasses import dataclass
from typing import Literal

from optimizer.core.offpolicy.estimates import Evaluation

Answer = Literal["allow", "ask", "block"]


@dataclass(frozen=True, slots=True)
class GateRule:
    """What is demanded. `max_loss` is how much mean reward (in its own unit) the proposal may lose against the log.

    Below the `block_*` figures the log says nothing about the proposal; below the `ask_*` figures too little to act
    alone.
    """

    max_loss: float = 0.0
    ask_effective: float = 200.0
    block_effective: float = 30.0
    ask_unsupported: float = 0.01
    block_unsupported: float = 0.2
    ask_weight: float = 50.0


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """The answer and every reason for it that is not plain approval."""

    answer: Answer
    reasons: tuple[str, ...]


def judge_gate(found: Evaluation | None, rule: GateRule) -> GateAnswer:
    """Block when the log shows a loss beyond the limit or hardly overlaps; ask when it cannot exclude one; else
    allow.

    None (no usable log at all) asks: nothing speaks for the proposal and nothing against it.
    """
    if found is None:
        return GateAnswer("ask", ("no logged choices with probabilities",))
    block, ask = [], []
    gain = found.gain
    if found.effective < rule.block_effective:
        block.append(
            f"overlap: {found.effective:.0f} effective of {found.rows} rows, at least {rule.block_effective:.0f}"
        )
    elif found.effective < rule.ask_effective:
        ask.append(f"overlap: {found.effective:.0f} effective of {found.rows} rows, {rule.ask_effective:.0f} wanted")
    if found.unsupported > rule.block_unsupported:
        block.append(f"{found.unsupported:.1%} of its choices were never made in the log")
    elif found.unsupported > rule.ask_unsupported:
        ask.append(f"{found.unsupported:.1%} of its choices were never made in the log")
    if found.largest_weight > rule.ask_weight:
        ask.append(f"one row weighs {found.largest_weight:.0f} rows")
    if gain.high < -rule.max_loss:
        block.append(f"loses {-gain.value:.4g} (at least {-gain.high:.4g}), allowed {rule.max_loss:.4g}")
    elif gain.low < -rule.max_loss:
        ask.append(f"a loss of {-gain.low:.4g} cannot be excluded, allowed {rule.max_loss:.4g}")
    if block:
        return GateAnswer("block", (*block, *ask))
    return GateAnswer("ask" if ask else "allow", tuple(ask))
