"""Finding a call again: from the names that a call goes by to the cell that counted it, so that late scores join.

A call can be named by its assignment id, request id, response id or span id. Scores may come before their call: they
wait here as orphans, bounded; the oldest is dropped (and counted) when the bound is reached.
"""

import msgspec

from optimizer.model import FeedbackEvent, Score

ORPHANS = 10_000  # one score is about 200 bytes: at most 2 MB held for calls that never come


class Arm(msgspec.Struct, frozen=True, array_like=True):
    """Which side of a rollout a call was on, and the candidate's share when that was drawn."""

    rollout_id: str
    candidate: bool
    share: float


class Call(msgspec.Struct, frozen=True, array_like=True):
    """Where a call was counted and the quality counted for it; `arm` when it belongs to a rollout,
    `held_out` when it was drawn beside a holdout (true: in it).
    """

    service: str
    segment: str
    variant: str
    quality: float | None
    occurred_at: int
    arm: Arm | None = None
    held_out: bool | None = None


def names_of(item: FeedbackEvent | Score) -> tuple[str, ...]:
    """Every name of the call, most specific first; each is one key of the index."""
    names = []
    if item.assignment_id is not None:
        names.append("a/" + item.assignment_id)
    if item.request_id is not None:
        names.append("r/" + item.request_id)
    if item.response_id is not None:
        names.append("p/" + item.response_id)
    if item.span_id is not None:
        names.append("s/" + item.span_id)
    return tuple(names)


class Orphans:
    """Scores whose call has not been seen yet, by the names they use."""

    def __init__(self, waiting: dict[str, Score] | None = None, dropped: int = 0) -> None:
        self.waiting = waiting or {}
        self.dropped = dropped

    def keep(self, score: Score) -> None:
        """Hold the score until its call comes; the newest score of a name wins."""
        for name in names_of(score):
            self.waiting.pop(name, None)
            self.waiting[name] = score
        while len(self.waiting) > ORPHANS:
            del self.waiting[next(iter(self.waiting))]
            self.dropped += 1

    def take(self, names: tuple[str, ...]) -> Score | None:
        """The waiting score of a call that goes by these names, removed."""
        if not self.waiting:
            return None
        found = None
        for name in names:
            score = self.waiting.pop(name, None)
            found = found or score
        return found
