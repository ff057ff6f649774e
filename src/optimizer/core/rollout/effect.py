"""What a rollout did: the candidate against the baseline over the calls that were drawn between the two."""

from optimizer.core.judge import Outcome
from optimizer.model import MeasuredImpact

METRICS = ("cost_usd", "quality", "latency_ms")

Sums = dict[str, list[float]]
"""Metric to [known and sum of the baseline, known and sum of the candidate]."""


def add_outcome(strata: dict[str, Sums], outcome: Outcome, share: float) -> None:
    """Count an outcome under the share that its arm was drawn with, in place.

    The shares are kept apart because the arms are comparable inside a stage only: the candidate's calls gather in the
    late stages, the baseline's in the early ones, and whatever changed meanwhile would be taken for an effect.
    """
    if share >= 1.0:
        return  # nobody was drawn to the baseline: there is nothing to compare with
    for metric in METRICS:
        value = outcome.values.get(metric)
        if value is not None:
            sums = strata.setdefault(f"{share:.6g}", {}).setdefault(metric, [0.0, 0.0, 0.0, 0.0])
            at = 2 if outcome.candidate else 0
            sums[at] += 1
            sums[at + 1] += value


def measured_impact(strata: dict[str, Sums], start: int, end: int, requests: int) -> MeasuredImpact:
    """The effect in percent of the baseline, each stage weighing as many calls as the candidate had in it.

    Unknown where no stage has the metric on both sides, or where the baseline's mean is 0. `start` and `end` are
    microseconds since 1970; `requests` are the calls that the candidate served.
    """
    cost, quality, latency = (_change(strata, metric) for metric in METRICS)
    return MeasuredImpact(
        measured_from=start,
        measured_until=end,
        requests_affected=requests,
        cost_reduction_pct=None if cost is None else -cost,
        quality_delta_pct=quality,
        latency_delta_pct=latency,
    )


def _change(strata: dict[str, Sums], metric: str) -> float | None:
    before = after = 0.0
    for stratum in strata.values():
        n, total, m, candidate = stratum.get(metric, (0.0, 0.0, 0.0, 0.0))
        if n and m:
            before += m * total / n
            after += candidate
    return None if before == 0 else 100.0 * (after - before) / before
