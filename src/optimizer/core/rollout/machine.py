"""The rollout machine: pure, so that a decision can be stored before anything acts on it.

Rules:
* A guardrail shown to be broken (family-wise level `alpha`, at any time) takes the rollout back, also while paused.
* A stage is left upwards after its least time and least evidence, with no open sample-ratio mismatch. The last stage
  that still compares the arms is left only when every guardrail is shown to be kept: afterwards there is no baseline
  to compare with.
* At `max_events` the answer is promoted when everything is shown to be kept, else inconclusive. At `timeout_s` it is
  promoted only where the last comparison was under way or over. Lack of data never promotes.
* With `auto` false each step up, and the promotion, waits for an approval.
"""

from collections.abc import Iterable

import msgspec

from optimizer.core.judge import broken, kept, observe, segment_verdicts, verdicts
from optimizer.core.rollout.effect import add_outcome
from optimizer.core.rollout.state import (
    ACTIVE,
    Command,
    Effect,
    Input,
    Notify,
    Observed,
    Rollout,
    Status,
    Transition,
    route_of,
)
from optimizer.model import FailedPrecondition

MAX_HISTORY = 200  # pausing and resuming are the only transitions without a natural bound
SECOND = 1_000_000


def apply(rollout: Rollout, event: Input) -> tuple[Rollout, tuple[Effect, ...]]:
    """The state after one input, and the effects to carry out once that state is stored. The given state is
    untouched.

    Raises FailedPrecondition for a command that the status does not allow; nothing has changed then.
    """
    return apply_all(rollout, (event,))


def apply_all(rollout: Rollout, events: Iterable[Input]) -> tuple[Rollout, tuple[Effect, ...]]:
    """The same for several inputs with one copy of the state; effects keep their order."""
    state = copy(rollout)
    effects = [effect for event in events for effect in advance(state, event)]
    return state, tuple(effects)


def advance(state: Rollout, event: Input) -> tuple[Effect, ...]:
    """The same for one input, changing the given state: for a fold that owns it.

    Raises FailedPrecondition like `apply`, before anything changed.
    """
    effects: list[Effect] = []
    if isinstance(event, Command):
        _command(state, event, effects)
    elif state.status in ACTIVE:
        if isinstance(event, Observed):
            _observe(state, event)
        _move(state, event.now, effects)
    return tuple(effects)


def copy(rollout: Rollout) -> Rollout:
    """An independent copy; it serialises to the same bytes."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(rollout), type=Rollout)


def _observe(state: Rollout, event: Observed) -> None:
    outcome, share = event.outcome, state.share if event.share is None else event.share
    observe(state.judge, outcome, share)
    add_outcome(state.strata, outcome, share)
    if not outcome.call:
        return
    state.calls[outcome.candidate] += 1
    state.stage_calls[outcome.candidate] += 1
    if not outcome.candidate and share < 1.0:
        # with a smaller share than half, one call of the candidate stands beside several of the baseline
        state.baseline_progress += min(1.0, share / (1.0 - share))
    state.progress = max(float(state.calls[1]), state.baseline_progress)


def _move(state: Rollout, now: int, effects: list[Effect]) -> None:
    """Take the one step that is due, if any."""
    spec = state.spec
    if spec.auto_rollback and broken(state.judge):
        _finish(state, now, "rolled_back", "a guardrail is shown to be broken", "", effects)
        return
    if state.status == "paused":
        return
    shown = state.proven or kept(state.judge)
    exhausted = spec.max_events is not None and state.progress >= spec.max_events
    late = spec.timeout_s is not None and now - state.created_at - state.paused_us >= spec.timeout_s * SECOND
    if exhausted or late:
        if shown and (exhausted or _comparison_is_last(state)):
            _step(state, now, "promote", "every guardrail is shown to be kept", effects)
        waits = state.awaiting == "promote" and not late
        if state.status == "running" and not waits:
            reason = "max_events reached" if exhausted else "timeout reached"
            doubt = "" if shown else "; not every guardrail is shown to be kept"
            _finish(state, now, "inconclusive", reason + doubt, "", effects)
        return
    if not stage_done(state, now):
        return
    if state.stage + 1 < len(spec.stages):
        if not _comparison_is_last(state):
            _step(state, now, "advance", "stage done, no guardrail broken", effects)
        elif shown:
            state.proven = True
            _step(state, now, "advance", "every guardrail is shown to be kept", effects)
    elif shown:
        _step(state, now, "promote", "last stage done, every guardrail is shown to be kept", effects)


def stage_done(state: Rollout, now: int) -> bool:
    """Whether the stage has had its time and evidence, and the sample ratio is in order."""
    spec = state.spec
    enough = state.stage_calls[1] >= spec.stage_min_events and not state.judge.unbalanced
    return enough and now - state.stage_at >= spec.stage_min_s * SECOND


def waits_for_time(state: Rollout, now: int) -> bool:
    """Whether a tick at `now` can change anything: the stage has had its time, or the timeout has come."""
    spec = state.spec
    late = spec.timeout_s is not None and now - state.created_at - state.paused_us >= spec.timeout_s * SECOND
    return state.status == "running" and (late or stage_done(state, now))


def _comparison_is_last(state: Rollout) -> bool:
    """Whether no later stage compares the arms."""
    stages = state.spec.stages
    return state.stage + 1 >= len(stages) or stages[state.stage + 1] >= 100.0


def _step(state: Rollout, now: int, step: str, reason: str, effects: list[Effect], actor: str = "") -> None:
    """Advance or promote; without `auto` wait for the approval first."""
    if not state.spec.auto and not actor:
        if state.awaiting != step:
            state.awaiting = step
            _record(state, now, "awaiting_approval", f"{step}: {reason}", "", effects)
        return
    state.awaiting = None
    if step == "promote":
        _finish(state, now, "promoted", reason, actor, effects)
        return
    state.stage += 1
    state.stage_at, state.stage_calls = now, [0, 0]
    effects.append(route_of(state))
    _record(state, now, "advanced", reason, actor, effects)


def _finish(state: Rollout, now: int, status: Status, reason: str, actor: str, effects: list[Effect]) -> None:
    state.status, state.finished_at, state.awaiting = status, now, None
    effects.append(route_of(state))
    _record(state, now, status, reason, actor, effects)


def _record(state: Rollout, now: int, event: str, reason: str, actor: str, effects: list[Effect]) -> None:
    entry = Transition(
        at=now,
        event=event,
        status=state.status,
        stage=state.stage,
        share=state.share,
        reason=reason,
        actor=actor,
        calls=(state.calls[0], state.calls[1]),
        verdicts=verdicts(state.judge) + segment_verdicts(state.judge),
    )
    state.history = [*state.history[:1], *[*state.history[1:], entry][-MAX_HISTORY:]]
    effects.append(Notify(state.spec.service, state.id, entry))


def _command(state: Rollout, command: Command, effects: list[Effect]) -> None:
    action, status, now = command.action, state.status, command.now
    actor = command.actor or "unknown"
    if action == "rollback" and status == "promoted":
        _finish(state, now, "rolled_back", command.reason, actor, effects)
        return
    if status not in ACTIVE:
        raise FailedPrecondition(f"the rollout is {status}; {action} is not possible")
    if action == "rollback":
        _finish(state, now, "rolled_back", command.reason, actor, effects)
    elif action == "cancel":
        _finish(state, now, "cancelled", command.reason, actor, effects)
    elif action == "pause":
        if status == "paused":
            raise FailedPrecondition("the rollout is paused already")
        state.status, state.paused_at = "paused", now
        _record(state, now, "paused", command.reason, actor, effects)
    elif action == "resume":
        if state.paused_at is None:
            raise FailedPrecondition("the rollout is not paused")
        state.paused_us += now - state.paused_at
        state.stage_at += now - state.paused_at
        state.status, state.paused_at = "running", None
        _record(state, now, "resumed", command.reason, actor, effects)
    else:
        if state.awaiting is None or status == "paused":
            raise FailedPrecondition("nothing waits for an approval")
        _step(state, now, state.awaiting, command.reason or "approved", effects, actor)
