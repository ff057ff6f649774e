"""Adaptive parameter tuning: a bounded pattern search over the parameters that the baseline already sets.

Coordinate search with halving steps (Hooke & Jeeves, JACM 8, 1961), one parameter and one step at a time: a rollout
needs thousands of calls, so there will be tens of evaluations and never the hundreds that a model-based search
(Gaussian processes, TPE) earns its keep with; its randomness and its heavy import bring nothing here. A step that was
promoted is the next baseline, from which the search goes on in the same direction; a step that was refused is not
tried again, first the other direction is, then half the step, down to the smallest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optimizer.core.strategies.knowledge import Knowledge
from optimizer.core.strategies.values import Idea, StrategySettings
from optimizer.model import Impact

HALVINGS = 2


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its bounds and first step; `whole` for integers."""

    name: str
    low: float
    high: float
    step: float
    whole: bool = False


PARAMETERS = (
    Parameter("temperature", 0.0, 2.0, 0.2),
    Parameter("top_p", 0.7, 1.0, 0.1),
    Parameter("max_tokens", 256, 8192, 0.5, whole=True),
)
"""Bounds of the contract (4.3). The step of max_tokens is a share of its value: its effect is one of proportions."""


def tune(known: Knowledge, tried: Sequence[dict[str, object]], settings: StrategySettings) -> list[Idea]:
    """The next steps from the baseline that were not tried yet; the one to take is the first.

    `tried` are configurations that were proposed before; those of declared variants count as tried as well, since
    other strategies compare what is declared. Nothing is proposed before the baseline has enough calls.
    """
    service = known.service
    if known.calls(service.baseline) < settings.caution.min_calls:
        return []
    config = known.config(service.baseline)
    seen = [*tried, *(variant.config for variant in service.variants)]
    return [
        _idea(known, parameter, config, value)
        for halving in range(HALVINGS + 1)
        for parameter in PARAMETERS
        for value in _steps(parameter, config.get(parameter.name), 0.5**halving)
        if {**config, parameter.name: value} not in seen
    ]


def _steps(parameter: Parameter, value: object, scale: float) -> Iterator[float]:
    """Down first: lower temperature and fewer tokens seldom cost more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        return
    step = parameter.step * scale * (value if parameter.whole else 1.0)
    for wanted in (value - step, value + step):
        bounded = min(max(wanted, parameter.low), parameter.high)
        bounded = round(bounded) if parameter.whole else round(bounded, 6)
        if bounded != value:
            yield bounded


def _idea(known: Knowledge, parameter: Parameter, config: dict[str, object], value: float) -> Idea:
    return Idea(
        strategy="adaptive_parameter_tuning",
        service=known.service.name,
        candidate=None,
        config={**config, parameter.name: value},
        rationale=(
            f"{parameter.name} {config[parameter.name]} to {value:g}, a step of a search "
            f"between {parameter.low:g} and {parameter.high:g}; what it does is not known before it is tried"
        ),
        impact=Impact(),
        gain=None,
        confidence=None,
        checked=(f"{parameter.name} between {parameter.low:g} and {parameter.high:g}",),
    )
