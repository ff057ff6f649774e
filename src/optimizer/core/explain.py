"""Why a call got its variant: candidates, probabilities, choice and the policy they come from."""

from optimizer.core.assignment import AssignmentRef, served
from optimizer.model import Policy


def explain(ref: AssignmentRef, policy: Policy) -> dict[str, object]:
    """Everything that was known and drawn when the assignment was made, from the stored policy version alone."""
    row = policy.rows.get(ref.segment, policy.default)
    chances = served(policy, ref.segment)
    return {
        "service": ref.service,
        "segment": ref.segment,
        "segment_known": ref.segment in policy.rows,
        "policy_version": policy.version,
        "policy_cursor": policy.cursor,
        "policy_seed": policy.seed,
        "variant": policy.variants[ref.variant],
        "probability": chances[ref.variant],
        "reason": ref.reason,
        "decided_at": ref.decided_at,
        "holdout": policy.holdout,
        "rollout": None if policy.split is None else {"id": policy.split.rollout_id, "share": policy.split.share},
        "candidates": [
            {"variant": name, "probability": p, "learnt": q, "exploit": used}
            for name, p, q, used in zip(policy.variants, chances, row.probabilities, row.exploit, strict=True)
        ],
    }
