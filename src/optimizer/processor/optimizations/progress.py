"""Where a deployment stands, from its rollouts. Pure."""

from collections.abc import Mapping

from msgspec.structs import replace

from optimizer.core.rollout import Rollout, measured_impact
from optimizer.core.rollout.effect import Sums
from optimizer.model import Deployment, FailedPrecondition, MeasuredImpact, Optimization, Wish
from optimizer.model.optimizations import Status

OPEN: frozenset[str] = frozenset({"deploying", "monitoring"})
ACTIVE = frozenset({"running", "paused"})


def decide_wish(now: Optimization, wish: Wish) -> Optimization:
    """The optimization with what is asked of its deployment on record. Raises FailedPrecondition.

    The first wish stands: a second one would find everything done.
    """
    deployment = now.deployment
    if deployment is None:
        raise FailedPrecondition(f"optimization {now.id} is {now.status}; it was never deployed")
    if now.status not in OPEN and not (now.status == "completed" and wish.action == "rollback"):
        hint = "; roll it back instead" if now.status == "completed" else ""
        raise FailedPrecondition(f"optimization {now.id} is {now.status} already{hint}")
    if deployment.wish is not None:
        return now
    status: Status = "monitoring" if now.status == "completed" else now.status
    return replace(now, status=status, deployment=replace(deployment, wish=wish))


def conclusion(found: Optimization, rollouts: Mapping[str, Rollout]) -> Wish | None:
    """What has to be done to the rollouts: what was wished, or taking all back because one was not promoted."""
    deployment = found.deployment
    if deployment is not None and deployment.wish is not None:
        return deployment.wish
    for rollout in rollouts.values():
        if rollout.status not in (*ACTIVE, "promoted"):
            reason = f"the rollout of {rollout.spec.service!r} is {rollout.status}"
            return Wish(action="rollback", by="system", reason=reason)
    return None


def conclude(found: Optimization, rollouts: Mapping[str, Rollout], now: int) -> Optimization:
    """The optimization as its rollouts (by service) stand; unchanged when nothing new can be said."""
    deployment = found.deployment
    if deployment is None or found.status not in OPEN:
        return found
    status = _status(deployment, rollouts)
    progress = f"{status}: " + ("; ".join(_words(r) for r in rollouts.values()) or _why(deployment))
    if (status, progress) == (found.status, deployment.progress):
        return found
    deployed = found.deployed_at or min((r.created_at for r in rollouts.values()), default=None)
    return replace(
        found,
        status=status,
        deployed_at=deployed,
        rolled_back_at=now if status == "rolled_back" else found.rolled_back_at,
        actual_impact=_impact(rollouts, now),
        deployment=replace(deployment, progress=progress),
    )


def _status(deployment: Deployment, rollouts: Mapping[str, Rollout]) -> Status:
    statuses = {rollout.status for rollout in rollouts.values()}
    if statuses & ACTIVE:
        return "monitoring"
    if statuses == {"promoted"} and len(rollouts) == len(deployment.steps):
        return "completed"
    wish = deployment.wish
    if wish is not None and wish.by == "system" and wish.action == "cancel":
        return "deployment_failed"
    if wish is not None:
        return "cancelled" if wish.action == "cancel" else "rolled_back"
    return "cancelled" if "cancelled" in statuses and not statuses & {"rolled_back", "inconclusive"} else "rolled_back"


def _words(rollout: Rollout) -> str:
    last = rollout.history[-1]
    share = f"{rollout.share:.0%} of {rollout.spec.service} gets {rollout.spec.candidate}"
    return f"{share} ({last.event}{f', {last.reason}' if last.reason else ''})"


def _why(deployment: Deployment) -> str:
    return "no rollout began" + ("" if deployment.wish is None else f": {deployment.wish.reason}")


def _impact(rollouts: Mapping[str, Rollout], now: int) -> MeasuredImpact | None:
    """Measured over the calls drawn between candidate and baseline, within service and stage."""
    if not rollouts:
        return None
    strata: dict[str, Sums] = {
        f"{name}/{share}": sums for name, rollout in rollouts.items() for share, sums in rollout.strata.items()
    }
    start = min(rollout.created_at for rollout in rollouts.values())
    end = max(rollout.finished_at or now for rollout in rollouts.values())
    return measured_impact(strata, start, end, sum(rollout.calls[1] for rollout in rollouts.values()))
