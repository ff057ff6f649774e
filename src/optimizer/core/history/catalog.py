"""Which variants each run of policy versions had, so that an assignment's index has a name."""

from optimizer.core.assignment import parse
from optimizer.model import FeedbackEvent, InvalidArgument, Policy


class Catalog:
    """By service: (first policy version, names of the variants), by version. One entry for each change of the names."""

    def __init__(self) -> None:
        self.known: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        self.dirty = False

    def add(self, policy: Policy) -> None:
        """Take in a policy as adopted."""
        runs = self.known.setdefault(policy.service, [])
        if not runs or (runs[-1][1] != policy.variants and policy.version > runs[-1][0]):
            runs.append((policy.version, policy.variants))
            self.dirty = True

    def variant_of(self, event: FeedbackEvent) -> str | None:
        """The variant that the call's assignment names, None without one."""
        if event.variant is not None or event.assignment_id is None:
            return None
        try:
            ref = parse(event.assignment_id)
        except InvalidArgument:
            return None  # the intake refuses such ids; a log written before a format change may hold one
        for first, variants in reversed(self.known.get(event.service, ())):
            if ref.policy_version >= first:
                return variants[ref.variant] if ref.variant < len(variants) else None
        return None
