"""What the fold knows about the variants of a service, read from its report, and comparisons of two of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from optimizer.model import Impact, ParameterChange


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


def value_of(text: str) -> object:
    """The JSON value of a change's text, or the text itself when it is no JSON."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def text_of(value: object) -> str:
    """The text of a configuration value, so that `value_of` gives it back; plain text stays plain."""
    if isinstance(value, str) and value_of(value) == value:
        return value
    return json.dumps(value, sort_keys=True)


def apply_changes(config: Mapping[str, object], changes: tuple[ParameterChange, ...]) -> dict[str, object]:
    """The configuration with the changes made."""
    changed = dict(config)
    for change in changes:
        if change.change_type == "remove":
            changed.pop(change.parameter, None)
        else:
            changed[change.parameter] = value_of(change.new_value)
    return changed


def changes_from(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[ParameterChange, ...]:
    """The changes that lead from one configuration to the other, in parameter order."""
    found: list[ParameterChange] = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(ParameterChange(parameter=name, old_value=text_of(before[name]), change_type="remove"))
        elif name not in before:
            found.append(ParameterChange(parameter=name, new_value=text_of(after[name]), change_type="add"))
        elif before[name] != after[name]:
            old, new = text_of(before[name]), text_of(after[name])
            found.append(ParameterChange(parameter=name, old_value=old, new_value=new, change_type="replace"))
    return tuple(found)
