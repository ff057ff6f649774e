"""The JSON bodies of the front door beside feedback: services and decide."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

from optimizer.collector.schema import Attributes, Id, Name
from optimizer.core.declaration import check
from optimizer.model import Constraint, Objective, Service, Variant
from optimizer.model.services import Goal, Metric, Mode

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Body(BaseModel):
    """A request body: unknown keys are errors, and values are not echoed in messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ConstraintBody(Body):
    """A bound on a metric; see `Constraint`."""

    metric: Metric
    min_ratio_to_best: Number | None = None
    min: Number | None = None
    max_mean: Annotated[Decimal, Field(allow_inf_nan=False)] | None = None
    quantile: Number | None = None
    max: Number | None = None


class ObjectiveBody(Body):
    """What to optimise."""

    goal: Goal
    weights: dict[str, Number] = {}
    constraints: tuple[ConstraintBody, ...] = ()


class VariantBody(Body):
    """A named configuration."""

    name: Name
    config: dict[str, object] = {}


class ServiceBody(Body):
    """The declaration of a service."""

    objective: ObjectiveBody
    variants: tuple[VariantBody, ...]
    baseline: Name
    mode: Mode = "learn"
    segment_by: tuple[Name, ...] = ()
    holdout: Number = 0.0
    lease_s: Number = 300.0

    def declaration(self, name: str) -> Service:
        """The domain value, checked. Raises InvalidArgument naming the field."""
        service = Service(
            name=name,
            objective=Objective(
                goal=self.objective.goal,
                weights=self.objective.weights,
                constraints=tuple(Constraint(**c.model_dump()) for c in self.objective.constraints),
            ),
            variants=tuple(Variant(name=v.name, config=v.config) for v in self.variants),
            baseline=self.baseline,
            mode=self.mode,
            segment_by=self.segment_by,
            holdout=self.holdout,
            lease_s=self.lease_s,
        )
        check(service)
        return service


class DecideBody(Body):
    """A question: which variant for this call or conversation?"""

    context: Attributes = {}
    key: Id | None = None
    request_id: Id | None = None
