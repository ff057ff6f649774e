"""Counters of the calls of one period: what was called, how long it took, what it cost, how good it was."""

from decimal import Decimal

import msgspec

from optimizer.core.sketch import QuantileSketch, SketchState
from optimizer.model import FeedbackEvent

SCORES = 16
"""Names of scores that one tally keeps apart; further names are not kept (the report of a service has them all)."""


class TallyState(msgspec.Struct, frozen=True, array_like=True):
    """Everything of a tally as plain values."""

    calls: int
    errors: int
    tokens: tuple[int, int]
    tokens_known: int
    cost_usd: Decimal
    cost_known: int
    latency_sum: float
    latency: SketchState
    scores: dict[str, tuple[int, float]]


class Tally:
    """Unknown values are not counted. Money is exact, latency in ms. `scores` has quality under "quality"."""

    __slots__ = (
        "calls",
        "cost_known",
        "cost_usd",
        "errors",
        "latency",
        "latency_sum",
        "scores",
        "tokens",
        "tokens_known",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.tokens = [0, 0]  # input, output
        self.tokens_known = 0
        self.cost_usd = Decimal(0)
        self.cost_known = 0
        self.latency_sum = 0.0
        self.latency = QuantileSketch()
        self.scores: dict[str, tuple[int, float]] = {}

    def add(self, event: FeedbackEvent) -> None:
        """Count one call."""
        self.calls += 1
        if event.error_type is not None:
            self.errors += 1
        if event.input_tokens is not None or event.output_tokens is not None:
            self.tokens[0] += event.input_tokens or 0
            self.tokens[1] += event.output_tokens or 0
            self.tokens_known += 1
        if event.cost_usd is not None:
            self.cost_usd += event.cost_usd
            self.cost_known += 1
        if event.latency_ms is not None:
            self.latency.add(event.latency_ms)
            self.latency_sum += event.latency_ms
        if event.quality is not None:
            self.score("quality", event.quality)

    def score(self, name: str, value: float) -> None:
        """Count one judgement (0..1)."""
        known = self.scores.get(name)
        if known is not None:
            self.scores[name] = (known[0] + 1, known[1] + value)
        elif len(self.scores) < SCORES:
            self.scores[name] = (1, value)

    def merge(self, other: "Tally") -> None:
        """Count everything that `other` counted."""
        self.calls += other.calls
        self.errors += other.errors
        self.tokens = [mine + its for mine, its in zip(self.tokens, other.tokens, strict=True)]
        self.tokens_known += other.tokens_known
        self.cost_usd += other.cost_usd
        self.cost_known += other.cost_known
        self.latency.merge(other.latency)
        self.latency_sum += other.latency_sum
        for name, (count, total) in other.scores.items():
            known = self.scores.get(name, (0, 0.0))
            if name in self.scores or len(self.scores) < SCORES:
                self.scores[name] = (known[0] + count, known[1] + total)

    def mean_latency(self) -> float | None:
        """Mean latency in ms, None when none is known."""
        return self.latency_sum / self.latency.count if self.latency.count else None

    def mean_cost(self) -> Decimal | None:
        """Mean cost of the calls whose cost is known."""
        return self.cost_usd / self.cost_known if self.cost_known else None

    def mean_score(self, name: str) -> float | None:
        """Mean of the judgements of that name."""
        count, total = self.scores.get(name, (0, 0.0))
        return total / count if count else None

    def error_rate(self) -> float | None:
        """Share of failed calls."""
        return self.errors / self.calls if self.calls else None

    def state(self) -> TallyState:
        """Everything, as plain values."""
        return TallyState(
            calls=self.calls,
            errors=self.errors,
            tokens=(self.tokens[0], self.tokens[1]),
            tokens_known=self.tokens_known,
            cost_usd=self.cost_usd,
            cost_known=self.cost_known,
            latency_sum=self.latency_sum,
            latency=self.latency.state(),
            scores=dict(sorted(self.scores.items())),
        )

    @classmethod
    def restore(cls, state: TallyState) -> "Tally":
        """The tally whose `state()` this is."""
        tally = cls()
        tally.calls, tally.errors = state.calls, state.errors
        tally.tokens, tally.tokens_known = list(state.tokens), state.tokens_known
        tally.cost_usd, tally.cost_known = state.cost_usd, state.cost_known
        tally.latency_sum, tally.latency = state.latency_sum, QuantileSketch.restore(state.latency)
        tally.scores = dict(state.scores)
        return tally
