"""What a rollout is asked to do, and which users see the candidate at which stage."""

import itertools
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from optimizer.core.judge import Guardrail, JudgeSpec, open_judge
from optimizer.model import Conflict, InvalidArgument, ResourceExhausted

DEFAULT_STAGES = (1.0, 5.0, 25.0, 50.0, 100.0)
DEFAULT_GUARDRAILS = (
    Guardrail(metric="quality", max_drop=0.03),
    Guardrail(metric="error_rate", max_increase=0.02),
)
MAX_STAGES = 20


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The request: the JSON of `POST /services/{service}/rollouts` with the service and its baseline added.

    `stages` are percentages of the traffic; every one lasts at least `stage_min_s` seconds and `stage_min_events`
    calls of the candidate. `max_events` (per arm) and `timeout_s` bound the whole. With `auto` false every step up
    waits for an approval; broken guardrails take the rollout back by themselves in either case, unless
    `auto_rollback` is false.
    """

    service: str
    baseline: str
    candidate: str
    stages: tuple[float, ...] = DEFAULT_STAGES
    stage_min_s: float = 300.0
    stage_min_events: int = 100
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = 0.05
    max_events: int | None = None
    timeout_s: float | None = 3600.0
    auto: bool = True
    auto_rollback: bool = True
    by_segment: bool = False

    def judge(self) -> JudgeSpec:
        """The judge's part of it."""
        return JudgeSpec(
            guardrails=self.guardrails,
            alpha=self.alpha,
            limit=self.max_events,
            min_events=self.stage_min_events,
            by_segment=self.by_segment,
        )


def canary_stages(percentage: float) -> tuple[float, ...]:
    """The usual stages from a first one of `percentage` (0: the usual first one) up. Raises InvalidArgument."""
    if not 0.0 <= percentage <= 100.0:
        raise InvalidArgument("lies between 0 and 100", field="canary_percentage")
    if percentage == 0.0:
        return DEFAULT_STAGES
    # The last stage compares nothing any more, so one before it always does.
    first = min(percentage, DEFAULT_STAGES[-2])
    return (first, *(stage for stage in DEFAULT_STAGES if stage > first))


def check_spec(spec: RolloutSpec) -> None:
    """Raise InvalidArgument, naming the field, unless the rollout can be run as asked."""
    if spec.candidate == spec.baseline:
        raise InvalidArgument("the candidate is the baseline already", field="candidate")
    stages = spec.stages
    if not 1 <= len(stages) <= MAX_STAGES:
        raise InvalidArgument(f"1 to {MAX_STAGES} stages", field="stages")
    if any(not 0.0 < stage <= 100.0 for stage in stages):
        raise InvalidArgument("stages are percentages above 0 and up to 100", field="stages")
    if any(later <= earlier for earlier, later in itertools.pairwise(stages)):
        raise InvalidArgument("every stage is larger than the one before", field="stages")
    if spec.stage_min_s < 0 or spec.stage_min_events < 1:
        raise InvalidArgument("stage_min_s is at least 0, stage_min_events at least 1", field="stage_min_events")
    if spec.max_events is not None and spec.max_events < spec.stage_min_events:
        raise InvalidArgument("max_events is at least stage_min_events", field="max_events")
    if spec.timeout_s is not None and spec.timeout_s <= 0:
        raise InvalidArgument("timeout_s is above 0", field="timeout_s")
    open_judge(spec.judge())


def admit(spec: RolloutSpec, active: Sequence[RolloutSpec], most: int) -> None:
    """Raise Conflict when the service has a rollout under way, ResourceExhausted when `most` are."""
    if any(other.service == spec.service for other in active):
        raise Conflict(f"service {spec.service!r} has a rollout under way")
    if len(active) >= most:
        raise ResourceExhausted(f"{len(active)} rollouts are under way, at most {most} are allowed", retry_after_s=60.0)


def place_of(salt: str, key: str) -> float:
    """Where a key lies in [0, 1) for the rollout with this salt; uniform, and independent between salts."""
    digest = blake2b(key.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def sees_candidate(salt: str, key: str, share: float) -> bool:
    """Whether a key is served the candidate at a share (0..1).
    Who is in at one share stays in at every larger one.
    """
    return place_of(salt, key) < share
