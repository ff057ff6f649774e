"""A service (one LLM call site), its variants and what it should be optimised for."""

from decimal import Decimal
from typing import Literal

import msgspec

Scalar = str | int | float | bool | None
Goal = Literal["minimize_cost", "minimize_latency", "maximize_quality", "weighted"]
Mode = Literal["learn", "fixed"]
Metric = Literal["quality", "cost_usd", "latency_ms", "error_rate"]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A named configuration: provider, model, parameters, prompt version."""

    name: str
    config: dict[str, object] = {}


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """A bound that the chosen mixture of variants must keep; exactly one bound is set.

    `min_ratio_to_best`: mean of the metric over all traffic at least this share of the best variant's.
    `min`: mean at least. `max_mean`: mean at most. `quantile` with `max`: that quantile at most.
    """

    metric: Metric
    min_ratio_to_best: float | None = None
    min: float | None = None
    max_mean: Decimal | None = None
    quantile: float | None = None
    max: float | None = None


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is optimised (`goal`, with `weights` for "weighted") inside which constraints."""

    goal: Goal
    weights: dict[str, float] = {}
    constraints: tuple[Constraint, ...] = ()


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of a service, as PUT by its owner. `holdout` is the share of traffic kept on the baseline."""

    name: str
    objective: Objective
    variants: tuple[Variant, ...]
    baseline: str
    mode: Mode = "learn"
    segment_by: tuple[str, ...] = ()
    holdout: float = 0.0
    lease_s: float = 300.0

    def index(self, variant: str) -> int | None:
        """The position of the named variant, None when the service does not have it."""
        for i, known in enumerate(self.variants):
            if known.name == variant:
                return i
        return None


class Listing(msgspec.Struct, frozen=True):
    """A declared service with every variant that it ever had: late feedback may name one that was since removed."""

    service: Service
    variants: frozenset[str]
