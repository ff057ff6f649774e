"""The state of one service: its declaration, its cells, the assignments handed out, the policy in force."""

from optimizer.core.fold.calls import Arm
from optimizer.core.fold.cell import Cell
from optimizer.core.learning import bounds_of
from optimizer.core.ledger import Account, month_of
from optimizer.core.segments import admit, segment_of
from optimizer.model import FeedbackEvent, Policy, Scalar, Service, Split

SPLITS = 64  # stage changes remembered: an assignment of an older stage counts for no arm
UNATTRIBUTED = ""  # the variant of calls that name neither an assignment nor a variant


class ServiceState:
    """Everything folded for one service. `revision` is the log offset of the declaration in force.

    `catalog` remembers which variants each run of policy versions had: an old assignment's index keeps its name;
    `splits` does the same for the stages of rollouts.
    """

    def __init__(self, declaration: Service, revision: int) -> None:
        self.declaration = declaration
        self.revision = revision
        self.bounds = bounds_of(declaration)
        self.cells: dict[tuple[str, str], Cell] = {}
        self.segments: set[str] = set()
        self.events = 0
        self.since_policy = 0
        self.policy: Policy | None = None
        self.catalog: list[tuple[int, tuple[str, ...]]] = []
        self.splits: list[tuple[int, Split | None]] = []
        self.assigned: dict[str, int] = {}
        self.ledger: dict[tuple[str, str], Account] = {}
        self.scores: dict[tuple[str, str, str], tuple[int, float]] = {}
        self.last_event_at: int | None = None

    def declare(self, declaration: Service, revision: int) -> None:
        """Take a new declaration; what was counted stays, under the variants' names."""
        self.declaration = declaration
        self.revision = revision
        self.bounds = bounds_of(declaration)
        for cell in self.cells.values():
            cell.evidence.rebound(self.bounds)

    def adopt(self, policy: Policy) -> None:
        """The policy is in force from here on; what it found to be out of date is forgotten."""
        self.policy = policy
        self.since_policy = 0
        for key in policy.stale:
            if key in self.cells:
                self.cells[key].evidence.forget()
        if not self.catalog or self.catalog[-1][1] != policy.variants:
            self.catalog.append((policy.version, policy.variants))
        if policy.split != (self.splits[-1][1] if self.splits else None):
            self.splits = [*self.splits[-SPLITS:], (policy.version, policy.split)]

    def variant_of(self, version: int, index: int) -> str | None:
        """The name that `index` had under policy `version`, None if that version never was."""
        for first, variants in reversed(self.catalog):
            if version >= first:
                return variants[index] if index < len(variants) else None
        return None

    def arm_of(self, version: int, reason: str) -> Arm | None:
        """Which side of a rollout an assignment under policy `version` was on, None when there was no rollout."""
        for first, split in reversed(self.splits):
            if version >= first:
                if split is None or reason == "holdout":
                    return None
                return Arm(split.rollout_id, reason == "rollout", split.share)
        return None

    def ever(self) -> frozenset[str]:
        """Every variant that the service ever had."""
        return frozenset(v.name for v in self.declaration.variants).union(*(names for _, names in self.catalog))

    def segment(self, context: dict[str, Scalar]) -> str:
        """The segment of a call by its context."""
        return self.known_segment(segment_of(self.declaration, context))

    def known_segment(self, name: str) -> str:
        """The segment itself, or the shared one when there are too many to keep apart."""
        name = admit(name, self.segments)
        self.segments.add(name)
        return name

    def cell(self, segment: str, variant: str) -> Cell:
        """The counters of (segment, variant), made on first use."""
        key = (segment, variant)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(self.bounds)
        return cell

    def count(self, event: FeedbackEvent, segment: str, variant: str, quality: float | None) -> None:
        """Count one finished call."""
        self.events += 1
        self.cell(segment, variant).add(event, quality, self.events)
        self.since_policy += 1
        if self.last_event_at is None or event.occurred_at > self.last_event_at:
            self.last_event_at = event.occurred_at

    def account(self, occurred_at: int, segment: str) -> Account:
        """The ledger's account for a call of that time and segment, made on first use."""
        key = (month_of(occurred_at), segment)
        account = self.ledger.get(key)
        if account is None:
            account = self.ledger[key] = Account(self.declaration.name, *key)
        return account

    def score(self, name: str, segment: str, variant: str, value: float) -> None:
        """Count one score of any name."""
        n, total = self.scores.get((segment, variant, name), (0, 0.0))
        self.scores[segment, variant, name] = (n + 1, total + value)
