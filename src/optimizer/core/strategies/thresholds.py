"""Threshold based: the baseline breaks a limit, and another variant keeps it."""

from collections.abc import Iterator, Mapping

from optimizer.core.analyzers.values import wilson
from optimizer.core.sketch import QuantileSketch
from optimizer.core.strategies.knowledge import Knowledge
from optimizer.core.strategies.safety import check_safety
from optimizer.core.strategies.values import Idea, StrategySettings
from optimizer.model.services import Metric

TAIL = 0.05
"""What may lie above a 95 % quantile's limit."""


def react(known: Knowledge, latency: Mapping[str, QuantileSketch], settings: StrategySettings) -> list[Idea]:
    """For each limit that the baseline shows to break, the variants shown to keep it, the most useful first.

    `latency` are the variants' latencies in milliseconds.
    """
    found: list[Idea] = []
    for what, chances in _limits(known, latency, settings):
        broken = chances.get(known.service.baseline)
        if broken is None or 1.0 - broken < settings.caution.min_confidence:
            continue
        for variant in known.candidates:
            kept = chances.get(variant.name)
            if kept is None or kept < settings.caution.min_confidence:
                continue
            if known.calls(variant.name) < settings.caution.min_calls:
                continue
            safe, checked = check_safety(known, variant.name, settings.caution)
            if safe:
                found.append(_idea(known, variant.name, what, (1.0 - broken, kept), settings, checked))
    return sorted(found, key=lambda idea: (-(idea.gain or 0.0), idea.candidate or ""))


def _limits(
    known: Knowledge, latency: Mapping[str, QuantileSketch], settings: StrategySettings
) -> Iterator[tuple[str, dict[str, float]]]:
    """Each limit in words, and for each variant the probability that it keeps the limit."""
    limits, names = settings.thresholds, [v.name for v in known.service.variants]
    bounds: tuple[tuple[Metric, float, bool], ...] = (
        ("quality", limits.quality_min, False),
        ("cost_usd", limits.cost_per_request, True),
        ("error_rate", limits.error_rate, True),
    )
    for metric, limit, upper in bounds:
        beliefs = {name: known.mean(metric, name) for name in names}
        yield (
            f"{metric} {'at most' if upper else 'at least'} {limit:g}",
            {n: 1.0 - b.above(limit) if upper else b.above(limit) for n, b in beliefs.items() if b is not None},
        )
    yield (
        f"95 % quantile of latency_ms at most {limits.latency_p95_ms:g}",
        {n: _keeps(latency[n], limits.latency_p95_ms, settings.caution.min_calls) for n in names if n in latency},
    )


def _keeps(sketch: QuantileSketch, limit: float, least: int) -> float:
    """1 when the share of calls above the limit is shown to be below 5 %, 0 when above, 0.5 when neither (Wilson)."""
    share = sketch.share_above(limit)
    if share is None or sketch.count < least:
        return 0.5
    low, high = wilson(share * sketch.count, sketch.count)
    return 1.0 if high < TAIL else 0.0 if low > TAIL else 0.5


def _idea(
    known: Knowledge,
    name: str,
    what: str,
    chances: tuple[float, float],
    settings: StrategySettings,
    checked: tuple[str, ...],
) -> Idea:
    utility = known.utility(name, settings.weights)
    confidence = min(chances)
    return Idea(
        strategy="threshold_based",
        service=known.service.name,
        candidate=name,
        config=known.config(name),
        rationale=(
            f"{known.service.baseline!r} breaks the limit: {what} (probability {chances[0]:.3f}); "
            f"{name!r} keeps it (probability {chances[1]:.3f})"
        ),
        impact=known.impact(name, confidence),
        gain=None if utility is None else utility.mean,
        confidence=confidence,
        checked=(*checked, what),
        urgent=True,
    )
