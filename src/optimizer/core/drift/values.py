"""What drift detection is told and what it says."""

from math import log
from typing import Literal

import msgspec

Metric = Literal["quality", "error_rate", "latency_ms", "cost_usd", "input_tokens", "output_tokens", "response_model"]

HARMFUL_SHARE = 0.9
"""Share of the false-alarm budget spent on changes for the worse; the rest pays for noticing those for the better."""


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Declared error rate and smallest change worth an alert.

    `average_run_length`: on a stream that never changes, one detector raises a false alarm once in at least this many
    events on average. `minimum_drop` is absolute (quality, error rate), `minimum_ratio` relative (everything else).
    """

    average_run_length: float = 500_000.0
    minimum_drop: float = 0.02
    minimum_ratio: float = 0.1

    def limits(self, harmful: int | None) -> tuple[float, float]:
        """The evidence in nats that a fall and a rise need. `harmful` is -1, 1, or None when either is as bad."""
        # The run length of the GLR procedure is at least exp(limit): see docs/statistics-drift.md for the measurement.
        worse = log(self.average_run_length / HARMFUL_SHARE)
        better = log(self.average_run_length / (1.0 - HARMFUL_SHARE))
        even = log(2.0 * self.average_run_length)
        if harmful is None:
            return even, even
        return (worse, better) if harmful < 0 else (better, worse)


class DriftAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A change in what a variant does, without anybody having deployed one.

    `timestamp` is the event time of the call that raised the alert, `changed_at` that of the last call before the
    estimated change (both in microseconds since 1970). `before` and `after` are means in the metric's own unit (shares
    of calls for "response_model", whose new answerer is `category`), `evidence` is the log likelihood ratio in nats.
    """

    service: str
    variant: str
    segment: str
    metric: Metric
    timestamp: int
    value: float
    direction: Literal["up", "down"]
    harmful: bool
    changed_at: int
    before: float
    after: float
    events_before: int
    events_after: int
    evidence: float
    average_run_length: float
    category: str | None = None

    @property
    def effect(self) -> float:
        """The change in the metric's own unit."""
        return self.after - self.before
