"""What the policy believes, for people: every posterior with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optimizer.core.learning.evidence import Evidence
from optimizer.core.learning.objective import measure
from optimizer.core.learning.tables import tabulate
from optimizer.model import Service
from optimizer.model.services import Metric

_METRICS: Final[tuple[Metric, ...]] = ("quality", "cost_usd", "latency_ms", "error_rate")
_WIDTH: Final = 1.96


@dataclass(frozen=True, slots=True)
class Belief:
    """Posterior mean of one metric of a variant in a segment, with a 95 % credible interval (normal approximation).

    `effective` is the evidence of the cell itself: decayed number of known values, 0 when the belief is borrowed from
    the variant's other segments. Quality counts failed calls as delivering nothing; cost and latency are per success.
    """

    segment: str | None
    variant: str
    metric: Metric
    mean: float
    low: float
    high: float
    effective: float


def beliefs(service: Service, evidence: Mapping[tuple[str, str], Evidence]) -> tuple[Belief, ...]:
    """Beliefs about every known segment in sorted order and, last, about unseen ones (`segment` None).

    A metric that was never known of a variant is left out: unknown is not a number.
    """
    tables = tabulate(service, evidence)
    metrics = measure(tables)
    counts = (tables.quality.n, tables.cost.n, tables.latency.n, tables.outcomes.n)
    found: list[Belief] = []
    for line, segment in enumerate((*tables.segments, None)):
        for column, variant in enumerate(service.variants):
            for metric, count in zip(_METRICS, counts, strict=True):
                estimate = metrics.of(metric)
                if estimate.known[column] <= 0.0:
                    continue
                mean, half = float(estimate.mean[line, column]), _WIDTH * float(estimate.sd[line, column])
                top = 1.0 if metric in ("quality", "error_rate") else float("inf")
                low, high = max(0.0, mean - half), min(top, mean + half)
                found.append(Belief(segment, variant.name, metric, mean, low, high, float(count[line, column])))
    return tuple(found)
