"""What the fold knows about the variants of a service, read from its report, and comparisons of two of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from optimizer.core.changes import apply_changes as apply_changes
from optimizer.core.changes import changes_from as changes_from
from optimizer.core.changes import text_of as text_of
from optimizer.core.changes import value_of as value_of
from optimizer.model import Impact


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRecord:
    """One variant over all segments. None is not known; `quality_error` is the standard error of its mean."""

    calls: int
    cost_usd: float | None
    latency_ms: float | None
    quality: float | None
    quality_error: float | None


def records_of(report: Mapping[str, object]) -> dict[str, VariantRecord]:
    """The record of each variant in a service's report."""
    variants = report["variants"]
    if not isinstance(variants, dict):
        raise TypeError("a report has a table of variants")
    return {name: _record(summary) for name, summary in variants.items() if name}


def _record(summary: Mapping[str, object]) -> VariantRecord:
    calls = _number(summary, "events") or 0
    unknown = _number(summary, "cost_unknown") or 0
    cost, known = summary.get("cost_usd"), calls - unknown
    quality, latency = summary.get("quality"), summary.get("latency_ms")
    mean = low = high = None
    if isinstance(quality, dict):
        mean, low, high = quality["mean"], quality["low"], quality["high"]
    return VariantRecord(
        calls=int(calls),
        cost_usd=float(Decimal(str(cost))) / known if cost is not None and known > 0 else None,
        latency_ms=latency.get("p50") if isinstance(latency, dict) else None,
        quality=mean,
        # The report's interval is 1.96 standard errors to each side.
        quality_error=None if low is None or high is None else max((high - low) / 3.92, 1e-9),
    )


def _number(summary: Mapping[str, object], name: str) -> float | None:
    value = summary.get(name)
    return value if isinstance(value, int | float) else None


def compare(candidate: VariantRecord, baseline: VariantRecord) -> Impact:
    """The candidate against the baseline, in percent of the baseline; what either does not know stays unknown.

    `confidence` is the probability that the candidate's mean quality is not below the baseline's, by the normal
    approximation of the difference of two independent means.
    """
    return Impact(
        cost_reduction_pct=_percent(baseline.cost_usd, candidate.cost_usd, -1),
        quality_delta_pct=_percent(baseline.quality, candidate.quality, 1),
        latency_delta_pct=_percent(baseline.latency_ms, candidate.latency_ms, 1),
        confidence=_confidence(candidate, baseline),
    )


def _percent(before: float | None, after: float | None, sign: int) -> float | None:
    return None if before is None or after is None or before == 0 else sign * 100 * (after - before) / before


def _confidence(candidate: VariantRecord, baseline: VariantRecord) -> float | None:
    if candidate.quality is None or baseline.quality is None:
        return None
    if candidate.quality_error is None or baseline.quality_error is None:
        return None
    error = math.hypot(candidate.quality_error, baseline.quality_error)
    return 0.5 * math.erfc(-(candidate.quality - baseline.quality) / (error * math.sqrt(2)))
