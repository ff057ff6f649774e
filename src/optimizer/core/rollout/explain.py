"""A rollout in words and in the JSON of the front door."""

from datetime import UTC, datetime

import msgspec

from optimizer.core.judge import Verdict, kept, segment_verdicts, verdicts
from optimizer.core.rollout.machine import stage_done
from optimizer.core.rollout.state import ACTIVE, Rollout, Transition

Json = dict[str, object]


def describe(rollout: Rollout, now: int) -> Json:
    """The JSON of `GET /rollouts/{id}`: status, stage, verdicts, history, and what it waits for."""
    return {
        "id": rollout.id,
        "service": rollout.spec.service,
        "baseline": rollout.spec.baseline,
        "candidate": rollout.spec.candidate,
        "status": rollout.status,
        "stage": rollout.stage,
        "share": rollout.share,
        "created_at": stamp(rollout.created_at),
        "finished_at": None if rollout.finished_at is None else stamp(rollout.finished_at),
        "calls": {"baseline": rollout.calls[0], "candidate": rollout.calls[1]},
        "waiting_for": waiting_for(rollout, now),
        "verdicts": [_verdict(v) for v in verdicts(rollout.judge)],
        "segments": [_verdict(v) for v in segment_verdicts(rollout.judge)],
        "marks": [msgspec.to_builtins(mark) for mark in map(msgspec.structs.asdict, rollout.judge.marks)],
        "history": [_transition(entry) for entry in rollout.history],
        "spec": msgspec.to_builtins(rollout.spec),
    }


def waiting_for(rollout: Rollout, now: int) -> str | None:
    """Why the rollout stands where it stands, None when it is over."""
    if rollout.status not in ACTIVE:
        return None
    if rollout.status == "paused":
        return "paused"
    if rollout.awaiting is not None:
        return f"approval to {rollout.awaiting}"
    spec, calls = rollout.spec, rollout.stage_calls[1]
    if calls < spec.stage_min_events:
        low = "; no candidate traffic yet" if not rollout.calls[1] else ""
        return f"evidence: {calls} of {spec.stage_min_events} calls of the candidate at this stage{low}"
    if rollout.judge.unbalanced:
        return "the arms do not receive the shares that were decided (sample-ratio mismatch)"
    if not stage_done(rollout, now):
        left = spec.stage_min_s - (now - rollout.stage_at) / 1e6
        return f"time: {max(left, 0.0):.0f} s of this stage are left"
    open_rails = [f"{v.metric} {v.bound}" for v in verdicts(rollout.judge) if v.kept is not True]
    if open_rails and not (rollout.proven or kept(rollout.judge)):
        return f"proof that these are kept: {', '.join(open_rails)}"
    return "the next outcome or tick"


def explain(rollout: Rollout) -> tuple[str, ...]:
    """The history, one sentence for every transition, with the numbers behind it."""
    return tuple(_sentence(rollout, entry) for entry in rollout.history)


def stamp(microseconds: int) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()


def _sentence(rollout: Rollout, entry: Transition) -> str:
    who = f" by {entry.actor}" if entry.actor else ""
    why = f" because {entry.reason}" if entry.reason else ""
    share = f"stage {entry.stage + 1} of {len(rollout.spec.stages)}, {entry.share:.0%} of the traffic"
    seen = f"after {entry.calls[1]} calls of {rollout.spec.candidate} and {entry.calls[0]} of {rollout.spec.baseline}"
    numbers = "; ".join(_words(v) for v in entry.verdicts)
    return f"{stamp(entry.at)} {entry.event}{who}{why} ({share}, {seen})" + (f": {numbers}" if numbers else "")


def _words(v: Verdict) -> str:
    where = f"{v.metric}[{v.segment}]" if v.segment else v.metric
    low, high = (f"{x:.4g}" if x is not None else "?" for x in v.interval)
    effect = f"{v.effect:+.4g}" if v.effect is not None else "unknown"
    notes = f", {', '.join(v.notes)}" if v.notes else ""
    return f"{where} {v.verdict} (effect {effect} in [{low}, {high}], {v.bound} {v.limit:g}, {v.events} events{notes})"


def _verdict(verdict: Verdict) -> Json:
    return {**msgspec.structs.asdict(verdict), "interval": list(verdict.interval), "notes": list(verdict.notes)}


def _transition(entry: Transition) -> Json:
    return {
        **msgspec.structs.asdict(entry),
        "at": stamp(entry.at),
        "calls": {"baseline": entry.calls[0], "candidate": entry.calls[1]},
        "verdicts": [_verdict(v) for v in entry.verdicts],
    }
