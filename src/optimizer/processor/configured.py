"""The settings of deployments and of the decision loop, as the processor wants them."""

from optimizer.config import Settings
from optimizer.core.strategies import CAUTION, WEIGHTS, StrategySettings, Thresholds
from optimizer.processor.decisions import LoopSettings
from optimizer.processor.optimizations import Terms


def terms_of(settings: Settings) -> Terms:
    """How long the rollouts of deployments take."""
    told = settings.decisions
    return Terms(stage_min_s=told.stage_min_s, stage_min_events=told.stage_min_events, timeout_s=told.rollout_timeout_s)


def loop_of(settings: Settings) -> LoopSettings:
    """The decision loop as configured now; live keys follow a reload."""
    told = settings.decisions
    return LoopSettings(
        enabled=told.loop_enabled,
        interval_s=told.loop_interval_s,
        min_gap_s=told.min_gap_s,
        repeat_s=told.repeat_s,
        max_concurrent=told.max_concurrent,
        auto_execute=told.auto_execute,
        profile=told.profile,
        strategies=told.strategies,
        how=StrategySettings(
            caution=CAUTION[told.profile],
            weights=WEIGHTS[told.preset],
            allocation=told.allocation,
            thresholds=Thresholds(
                latency_p95_ms=told.latency_p95_ms,
                error_rate=told.error_rate,
                cost_per_request=told.cost_per_request,
                quality_min=told.quality_min,
            ),
        ),
    )
