"""Why a call got its variant: candidates, probabilities, choice and the policy they come from."""

from optimizer.core.assignment import AssignmentRef
from optimizer.model import Policy


def explain(ref: AssignmentRef, policy: Policy) -> dict[str, object]:
    """Everything that was known and drawn when the assignment was made, from the stored policy version alone."""
    row = policy.rows.get(ref.segment, policy.default)
    served = (
        [p * (1 - policy.holdout) for p in row.probabilities] if policy.mode == "learn" else list(row.probabilities)
    )
    if policy.mode == "learn":
        served[policy.baseline] += policy.holdout
    return {
        "service": ref.service,
        "segment": ref.segment,
        "segment_known": ref.segment in policy.rows,
        "policy_version": policy.version,
        "policy_cursor": policy.cursor,
        "policy_seed": policy.seed,
        "variant": policy.variants[ref.variant],
        "probability": served[ref.variant],
        "reason": ref.reason,
        "decided_at": ref.decided_at,
        "holdout": policy.holdout,
        "candidates": [
            {"variant": name, "probability": p, "learnt": q, "exploit": used}
            for name, p, q, used in zip(policy.variants, served, row.probabilities, row.exploit, strict=True)
        ],
    }
