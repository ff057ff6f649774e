"""One choice from a policy: a point of the unit interval decides, so the same point always chooses the same."""

from hashlib import blake2b

from optimizer.model import Policy, Reason, Row


def unit_of(salt: str, key: str) -> float:
    """A number in [0, 1) that depends on salt and key alone, uniform over keys (53 bits of BLAKE2b).

    With one salt, a key keeps its place: its variant changes only when the boundaries of the policy move past it.
    Different salts give independent places.
    """
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    raw = salt.encode("utf-8", "surrogatepass")
    text = b"%d:%b%b" % (len(raw), raw, key.encode("utf-8", "surrogatepass"))
    return (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 11) * 2.0**-53


def choose(policy: Policy, segment: str, unit: float, place: float = 1.0) -> tuple[int, float, Reason]:
    """The variant's index, P(variant | segment, policy version) with everything included, and why it was chosen.

    The lowest `holdout` share of the unit interval stays on the baseline. Of the rest, a rollout's candidate gets the
    calls whose `place` (independent of `unit`) lies below the split's share; what remains is divided among the variants
    in declaration order. A variant of probability 0 is never chosen.
    """
    row = policy.rows.get(segment, policy.default)
    holdout = policy.holdout
    if unit < holdout:
        return policy.baseline, marginal(policy, row, policy.baseline), "holdout"
    split = policy.split
    if split is not None and place < split.share:
        return split.candidate, marginal(policy, row, split.candidate), "rollout"
    if policy.mode == "fixed":
        return policy.baseline, marginal(policy, row, policy.baseline), "fixed"
    chosen = _place(row.probabilities, (unit - holdout) / (1.0 - holdout))
    return chosen, marginal(policy, row, chosen), "exploit" if row.exploit[chosen] else "explore"


def marginal(policy: Policy, row: Row, variant: int) -> float:
    """P(variant) under the row, holdout and rollout included: what an off-policy estimate has to divide by."""
    chance = row.probabilities[variant]
    if policy.mode == "fixed":
        chance = 1.0 if variant == policy.baseline else 0.0
    split = policy.split
    if split is not None:
        chance = (1.0 - split.share) * chance + (split.share if variant == split.candidate else 0.0)
    chance *= 1.0 - policy.holdout
    return min(1.0, chance + policy.holdout) if variant == policy.baseline else chance


def served(policy: Policy, segment: str) -> tuple[float, ...]:
    """P(variant) of every variant in a segment, in declaration order."""
    row = policy.rows.get(segment, policy.default)
    return tuple(marginal(policy, row, i) for i in range(len(policy.variants)))


def _place(probabilities: tuple[float, ...], unit: float) -> int:
    end, last = 0.0, 0
    for i, probability in enumerate(probabilities):
        if probability <= 0.0:
            continue
        end += probability
        if unit < end:
            return i
        last = i
    return last  # the sum fell short of 1 by rounding
