"""Suggestions: which declared variant the evidence favours over the baseline, and why. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.model import Impact, Service
from optimizer.processor.optimizations.evidence import VariantRecord, changes_from, compare
from optimizer.processor.optimizations.proposals import Proposal
from optimizer.processor.optimizations.validation import FEW

FOCUS = {
    "cost": "cost_reduction_pct",
    "latency": "latency_delta_pct",
    "quality": "quality_delta_pct",
}
GOALS = {"minimize_cost": "cost", "minimize_latency": "latency", "maximize_quality": "quality", "weighted": "cost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A proposal with its reason, or None with the reason why there is none. `alternatives` are other variants."""

    proposal: Proposal | None
    explanation: str
    confidence: float | None
    alternatives: tuple[str, ...] = ()


def suggest(
    service: Service,
    records: Mapping[str, VariantRecord],
    focus: Sequence[str] = (),
    without: frozenset[str] = frozenset(),
) -> Suggestion:
    """The best variant for the first focus area ("cost", "latency", "quality"; by default the service's goal).

    Variants in `without` (refused before), those with fewer than `FEW` calls, and those whose quality is probably
    lower (confidence below one half, unless quality is nobody's measure) are left out.
    """
    area = next((f for f in focus if f in FOCUS), GOALS[service.objective.goal])
    baseline = records.get(service.baseline)
    if baseline is None or baseline.calls < FEW:
        known = 0 if baseline is None else baseline.calls
        return _none(f"{service.name}: the baseline {service.baseline!r} has {known} recorded calls, {FEW} are needed")
    ranked = sorted(
        (
            (gain, variant.name, impact)
            for variant in service.variants
            if variant.name != service.baseline and variant.name not in without
            if (impact := _eligible(records.get(variant.name), baseline)) is not None
            if (gain := _gain(impact, area)) is not None and gain > 0
        ),
        reverse=True,
        key=lambda each: each[:2],
    )
    if not ranked:
        return _none(f"{service.name}: no variant with at least {FEW} calls is better than the baseline in {area}")
    gain, best, impact = ranked[0]
    configs = {variant.name: variant.config for variant in service.variants}
    explanation = _explain(service, best, area, gain, impact, records)
    proposal = Proposal(
        strategy="cost_performance_scoring",
        target_services=(service.name,),
        changes=changes_from(configs[service.baseline], configs[best]),
        rationale=explanation,
        expected_impact=impact,
        metadata={"variant": best, "focus": area},
    )
    return Suggestion(
        proposal=proposal,
        explanation=explanation,
        confidence=impact.confidence,
        alternatives=tuple(name for _, name, _ in ranked[1:]),
    )


def _none(explanation: str) -> Suggestion:
    return Suggestion(proposal=None, explanation=explanation, confidence=None)


def _eligible(candidate: VariantRecord | None, baseline: VariantRecord) -> Impact | None:
    if candidate is None or candidate.calls < FEW:
        return None
    impact = compare(candidate, baseline)
    return None if impact.confidence is not None and impact.confidence < 0.5 else impact


def _gain(impact: Impact, area: str) -> float | None:
    value: float | None = getattr(impact, FOCUS[area])
    return -value if value is not None and area == "latency" else value


def _explain(
    service: Service, best: str, area: str, gain: float, impact: Impact, records: Mapping[str, VariantRecord]
) -> str:
    calls = f"{records[best].calls} against {records[service.baseline].calls} calls"
    text = f"{service.name}: {best!r} is {gain:.1f} % better in {area} than {service.baseline!r} ({calls})"
    if area != "quality" and impact.quality_delta_pct is not None:
        text += f"; quality {impact.quality_delta_pct:+.1f} %"
    if impact.confidence is not None:
        text += f", not worse with probability {impact.confidence:.2f}"
    return text
