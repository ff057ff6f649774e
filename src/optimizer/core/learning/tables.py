"""The evidence of a service as arrays, one line per segment in sorted order, one column per variant.

The last line is a segment without evidence: what is estimated for it serves every segment that was never seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from optimizer.core.learning.evidence import DELIVERED_MEMORY, TRAFFIC_MEMORY, Evidence
from optimizer.model import InvalidArgument, Service

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

METRICS: Final = ("quality", "cost_usd", "latency_ms")
LARGEST: Final = 1e30
"""Sums beyond this are cut: no cost or latency is meant by them, and their squares would overflow."""

_SUMS: Final = ("quality_n", "quality_s", "quality_ss", "cost_n", "cost_s", "cost_ss")
_MORE: Final = ("latency_n", "latency_s", "latency_ss", "recent_n", "recent_s", "recent_outcomes", "recent_errors")
_DELIVERED: Final = ("delivered_n", "delivered_s")
_FIELDS: Final = ("weight", "traffic", "tick", "events", "outcomes", "errors", *_SUMS, *_MORE, *_DELIVERED)


@dataclass(frozen=True, slots=True)
class Sums:
    """Effective number, sum and sum of squares of one metric's known values; each (segments + 1, variants)."""

    n: Array
    s: Array
    ss: Array


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that `learn` uses. `share` (segments + 1) is each segment's part of recent traffic, 0 for the last;
    `delivered` the number and the mean of the qualities that the service delivered lately."""

    segments: tuple[str, ...]
    share: Array
    events: Array
    outcomes: Sums
    quality: Sums
    cost: Sums
    latency: Sums
    exceeded: tuple[Sums, ...]
    recent_quality: tuple[Array, Array]
    recent_errors: tuple[Array, Array]
    delivered: tuple[float, float]


def bounds_of(service: Service) -> tuple[tuple[int, float], ...]:
    """The (metric number, bound) pairs whose exceedance the service's quantile constraints need counted.

    Raises `InvalidArgument` for a quantile of a metric that has no distribution to take it of.
    """
    bounds: list[tuple[int, float]] = []
    for constraint in service.objective.constraints:
        if constraint.quantile is not None and constraint.max is not None:
            if constraint.metric not in METRICS:
                raise InvalidArgument(f"a quantile of {constraint.metric} has no meaning", field="constraints")
            bounds.append((METRICS.index(constraint.metric), constraint.max))
    return tuple(bounds)


def tabulate(service: Service, evidence: Mapping[tuple[str, str], Evidence]) -> Tables:
    """Arrays of the evidence about the service's present variants; other variants' evidence is left out."""
    columns = {variant.name: i for i, variant in enumerate(service.variants)}
    segments = tuple(sorted({segment for segment, variant in evidence if variant in columns}))
    lines = {segment: i for i, segment in enumerate(segments)}
    bounds = bounds_of(service)
    shape = (len(segments) + 1, len(columns))
    width = len(_FIELDS)
    cells = np.zeros((*shape, width + 2 * len(bounds)))
    cells[..., 0] = 1.0
    read = attrgetter(*_FIELDS)
    for (segment, variant), known in evidence.items():
        column = columns.get(variant)
        if column is not None:
            cells[lines[segment], column, :width] = read(known)
            if bounds and known.bounds == bounds:
                cells[lines[segment], column, width:] = known.known_n + known.above_n
    cells[..., 4:] = np.clip(np.nan_to_num(cells[..., 4:], posinf=LARGEST, neginf=-LARGEST), -LARGEST, LARGEST)
    weight = cells[..., 0]
    field = {name: cells[..., i] for i, name in enumerate(_FIELDS)}
    counts = [cells[..., i] / weight for i in range(width, cells.shape[2])]
    half = len(bounds)

    def sums(name: str) -> Sums:
        return Sums(field[f"{name}_n"] / weight, field[f"{name}_s"] / weight, field[f"{name}_ss"] / weight)

    def rates(known: Array, hits: Array) -> Sums:
        return Sums(known, hits, hits)

    ticks = field["tick"]
    past = ticks.max(initial=0.0) - ticks
    traffic = (field["traffic"] * (1.0 - 1.0 / TRAFFIC_MEMORY) ** past).sum(axis=1)
    fading = (1.0 - 1.0 / DELIVERED_MEMORY) ** past
    delivered = float((field["delivered_n"] * fading).sum())
    return Tables(
        segments=segments,
        share=traffic / max(float(traffic.sum()), 1e-300),
        events=field["events"],
        outcomes=rates(field["outcomes"] / weight, field["errors"] / weight),
        quality=sums("quality"),
        cost=sums("cost"),
        latency=sums("latency"),
        exceeded=tuple(rates(counts[j], counts[half + j]) for j in range(half)),
        recent_quality=(field["recent_n"], field["recent_s"]),
        recent_errors=(field["recent_outcomes"], field["recent_errors"]),
        delivered=(delivered, float((field["delivered_s"] * fading).sum()) / max(delivered, 1e-300)),
    )
