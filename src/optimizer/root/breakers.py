"""Breakers whose state is seen: in the log at each change, and as the metric `breaker_state`."""

import structlog

from optimizer.nurseries.breaker import Breaker, BreakerPolicy, BreakerState
from optimizer.observability import Metrics

log = structlog.stdlib.get_logger(__name__)


def make_breaker(
    metrics: Metrics, name: str, policy: BreakerPolicy, failures: tuple[type[Exception], ...] = (Exception,)
) -> Breaker:
    """A closed breaker for the dependency of that name; `failures` are the errors that speak against it."""

    def changed(which: str, state: BreakerState) -> None:
        metrics.breaker_state.labels(which).set(state.value)
        tell = log.warning if state is BreakerState.OPEN else log.info
        tell("breaker changed", breaker=which, state=state.name.lower())

    metrics.breaker_state.labels(name).set(BreakerState.CLOSED.value)
    return Breaker(name, policy, failures=failures, on_change=changed)
