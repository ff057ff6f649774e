"""Exact counters of one (segment, variant): what was called, what it cost, how good it was. Unknown is not counted."""

from decimal import Decimal

from optimizer.core.learning import Evidence
from optimizer.core.sketch import QuantileSketch
from optimizer.model import FeedbackEvent

Bounds = tuple[tuple[int, float], ...]
TOKEN_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class Cell:
    """The running record of one variant in one segment. Money is exact; latency keeps a sketch for quantiles (ms)."""

    __slots__ = (
        "calls",
        "cost_known",
        "cost_usd",
        "errors",
        "evidence",
        "latency",
        "quality_known",
        "quality_squares",
        "quality_sum",
        "tokens",
        "tokens_known",
        "ttft",
    )

    def __init__(self, bounds: Bounds = ()) -> None:
        self.calls = 0
        self.errors = 0
        self.tokens = [0] * len(TOKEN_FIELDS)
        self.tokens_known = [0] * len(TOKEN_FIELDS)
        self.cost_usd = Decimal(0)
        self.cost_known = 0
        self.quality_known = 0
        self.quality_sum = 0.0
        self.quality_squares = 0.0
        self.latency = QuantileSketch()
        self.ttft = QuantileSketch()
        self.evidence = Evidence(bounds)

    def add(self, event: FeedbackEvent, quality: float | None, tick: int) -> None:
        """Count one call, event number `tick` of its service; `quality` is its own or a score that came before."""
        self.calls += 1
        failed = event.error_type is not None
        self.errors += failed
        tokens, known = self.tokens, self.tokens_known
        if event.input_tokens is not None:
            tokens[0] += event.input_tokens
            known[0] += 1
        if event.output_tokens is not None:
            tokens[1] += event.output_tokens
            known[1] += 1
        if event.cache_read_tokens is not None:
            tokens[2] += event.cache_read_tokens
            known[2] += 1
        if event.cache_write_tokens is not None:
            tokens[3] += event.cache_write_tokens
            known[3] += 1
        if event.reasoning_tokens is not None:
            tokens[4] += event.reasoning_tokens
            known[4] += 1
        if event.cost_usd is not None:
            self.cost_usd += event.cost_usd
            self.cost_known += 1
        if quality is not None:
            self._add_quality(quality)
        if event.latency_ms is not None:
            self.latency.add(event.latency_ms)
        if event.ttft_ms is not None:
            self.ttft.add(event.ttft_ms)
        cost = None if event.cost_usd is None else float(event.cost_usd)
        self.evidence.observe(tick, quality=quality, cost=cost, latency=event.latency_ms, error=failed)

    def judge(self, quality: float, before: float | None) -> None:
        """A score came for a call counted earlier: its quality is now `quality`; `before` is what was counted."""
        if before is not None:
            self.quality_known -= 1
            self.quality_sum -= before
            self.quality_squares -= before * before
            self.evidence.revise(quality, before)
        else:
            self.evidence.score(quality)
        self._add_quality(quality)

    def _add_quality(self, quality: float) -> None:
        self.quality_known += 1
        self.quality_sum += quality
        self.quality_squares += quality * quality
