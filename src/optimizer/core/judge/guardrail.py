"""What a guardrail promises, what one outcome looks like,
and how values of a metric become scores between 0 and 1.
"""

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from optimizer.core.judge.wager import Plan, plan_alarm, plan_proof
from optimizer.model import FeedbackEvent, InvalidArgument

UNIT_METRICS = frozenset({"quality", "error_rate"})  # known to lie in 0..1
BOUNDS = ("max_drop", "max_increase", "max_drop_ratio", "max_increase_ratio", "max_shift", "min", "max", "max_mean")


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One bound on one metric; exactly one of the bounds is set. The bound also says which direction is harm.

    Against the baseline: `max_drop` / `max_increase` (of the mean, in the metric's unit), `max_drop_ratio` /
    `max_increase_ratio` (mean, or the `quantile` when one is given; 1.1 allows 10 % more, 0.1 allows a tenth less),
    `max_shift` (ordinal: P(candidate larger) - P(candidate smaller), for metrics with no known scale). Absolute, on
    the candidate alone: `min`, `max` (of the mean, or of the `quantile`), `max_mean`. `upper` is a known upper bound
    of the metric's values (all are >= 0); without it, and outside 0..1 metrics, means are of values cut at a cap
    learnt from the first outcomes.
    """

    metric: str
    max_drop: float | None = None
    max_increase: float | None = None
    max_drop_ratio: float | None = None
    max_increase_ratio: float | None = None
    max_shift: float | None = None
    min: float | None = None
    max: float | None = None
    max_mean: float | None = None
    quantile: float | None = None
    upper: float | None = None

    @property
    def bound(self) -> tuple[str, float]:
        """The name and value of the bound that is set."""
        for name in BOUNDS:
            value = getattr(self, name)
            if value is not None:
                return name, float(value)
        raise InvalidArgument(f"guardrail on {self.metric!r} sets no bound", field=self.metric)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one call (or one later judgement of it: `call` false) says about its arm.

    `values` maps a metric to its value; a metric that is unknown is absent. `fingerprint` is the response model (with
    the provider's fingerprint if known), `price` the version of the price that its cost was computed with.
    """

    candidate: bool
    values: dict[str, float]
    at: int = 0
    segment: str = ""
    fingerprint: str | None = None
    price: str | None = None
    call: bool = True


def values_of(event: FeedbackEvent) -> dict[str, float]:
    """The metrics that a feedback event carries, as floats; `error_rate` is 1 for an error and 0 otherwise."""
    found = {
        "quality": event.quality,
        "rating": event.rating,
        "latency_ms": event.latency_ms,
        "ttft_ms": event.ttft_ms,
        "cost_usd": None if event.cost_usd is None else float(event.cost_usd),
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "error_rate": 0.0 if event.error_type is None else 1.0,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rule:
    """A guardrail worked out: harm is sign * (candidate - ratio * baseline) - allowed, in the metric's unit.

    `absolute` compares the candidate with `allowed` alone; `threshold` counts values above it (`below`: under it)
    instead of averaging; `scale` is the largest score's value, None while it has to be learnt.
    """

    sign: float
    ratio: float
    allowed: float
    absolute: bool
    threshold: float | None
    below: bool
    scale: float | None
    alarm: Plan
    proof: Plan

    @property
    def plain(self) -> bool:
        """Whether the tested difference is the plain difference of the means."""
        return self.ratio == 1.0


@lru_cache(maxsize=1024)
def rule_of(guardrail: Guardrail, limit: float | None) -> Rule:
    """The rule of a guardrail on means or on an absolute quantile, for a horizon of `limit` candidate outcomes."""
    name, value = guardrail.bound
    sign = -1.0 if name in ("max_drop", "max_drop_ratio", "min") else 1.0
    absolute = name in ("min", "max", "max_mean")
    ratio = {"max_increase_ratio": value, "max_drop_ratio": 1.0 - value}.get(name, 1.0)
    allowed = 0.0 if name.endswith("_ratio") else value
    scale = 1.0 if guardrail.metric in UNIT_METRICS else guardrail.upper
    threshold = None
    if absolute and guardrail.quantile is not None:
        threshold, scale = value, 1.0
        allowed = guardrail.quantile if name == "min" else 1.0 - guardrail.quantile
        sign = 1.0
    if scale is not None:
        scale *= max(1.0, ratio)
    if absolute:
        allowed *= sign
    reach = limit if absolute or limit is None else max(limit - limit**0.5, 1.0)
    return Rule(sign, ratio, allowed, absolute, threshold, name == "min", scale, plan_alarm(reach), plan_proof(reach))


def check_guardrail(guardrail: Guardrail) -> None:
    """Raise InvalidArgument, naming the field, unless the guardrail is one that the judge can keep."""
    where = f"guardrail on {guardrail.metric!r}"
    if not guardrail.metric:
        raise InvalidArgument("a guardrail needs a metric", field="metric")
    named = [name for name in BOUNDS if getattr(guardrail, name) is not None]
    if len(named) != 1:
        raise InvalidArgument(
            f"{where} sets {len(named)} bounds ({', '.join(named)}), exactly one is needed", field="metric"
        )
    name, value = guardrail.bound
    if value < 0 and name not in ("min", "max", "max_mean"):
        raise InvalidArgument(f"{where}: {name} may not be negative", field=name)
    if name == "max_increase_ratio" and value < 1.0:
        raise InvalidArgument(f"{where}: max_increase_ratio is at least 1 (1.1 allows 10 % more)", field=name)
    if name in ("max_drop_ratio", "max_shift") and value >= 1.0:
        raise InvalidArgument(f"{where}: {name} is below 1", field=name)
    if guardrail.metric in UNIT_METRICS and value > 1.0 and not name.endswith("_ratio"):
        raise InvalidArgument(f"{where}: {name} of a metric between 0 and 1", field=name)
    if guardrail.upper is not None and guardrail.upper <= 0:
        raise InvalidArgument(f"{where}: upper is above 0", field="upper")
    if guardrail.quantile is None:
        return
    if not 0.0 < guardrail.quantile < 1.0:
        raise InvalidArgument(f"{where}: quantile is strictly between 0 and 1", field="quantile")
    if name not in ("min", "max", "max_increase_ratio"):
        raise InvalidArgument(f"{where}: a quantile goes with min, max or max_increase_ratio", field="quantile")
