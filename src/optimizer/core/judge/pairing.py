"""Blocks of one or more outcomes of either arm, formed from arrivals in any order.

The difference of the two means of a block has the difference of the arms' means as its expectation, whatever the
order of arrival and the split of the traffic, because which outcomes share a block depends on arrivals alone and
never on values.
"""

import msgspec

SLACK = 8  # outcomes of the arm ahead that wait one by one; more are averaged into the next block


class Tally(msgspec.Struct, array_like=True):
    """Count, sum and sum of squares of one arm's scores, and the sum of its unscaled scores."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    plain: float = 0.0

    def add(self, score: float, plain: float) -> None:
        """Include one outcome."""
        self.count += 1
        self.total += score
        self.squares += score * score
        self.plain += plain

    def merge(self, other: "Tally") -> None:
        """Include another tally's outcomes."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.plain += other.plain

    @property
    def mean(self) -> float:
        """Mean score; 0 when empty."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Variance of the scores (in 0..1) with two imagined scores at 0 and two at 1, which fade as real ones come."""
        n = self.count
        weight = 4.0 / (1.0 + n / 10.0)
        size = n + weight
        mean = (self.total + weight / 2.0) / size
        return (self.squares + weight / 2.0) / size - mean * mean


class Pairing(msgspec.Struct, array_like=True):
    """Outcomes that wait for the other arm: (score, plain) one by one, and the overflow as a tally."""

    waiting: list[tuple[float, float]] = msgspec.field(default_factory=list)
    overflow: Tally = msgspec.field(default_factory=Tally)
    candidate_ahead: bool = False


def match(pairing: Pairing, candidate: bool, score: float, plain: float) -> tuple[Tally, Tally] | None:
    """Put one outcome in; returns (baseline, candidate) tallies when it completes a block."""
    waiting = pairing.waiting
    if not waiting or pairing.candidate_ahead == candidate:
        pairing.candidate_ahead = candidate
        if len(waiting) < SLACK:
            waiting.append((score, plain))
        else:
            pairing.overflow.add(score, plain)
        return None
    if pairing.overflow.count:
        ahead = pairing.overflow
        pairing.overflow = Tally()
    else:
        first, first_plain = waiting.pop(0)
        ahead = Tally(1, first, first * first, first_plain)
    own = Tally(1, score, score * score, plain)
    return (own, ahead) if pairing.candidate_ahead else (ahead, own)
