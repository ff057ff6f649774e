"""The consumer for as long as the process lives: whatever the broker does, it waits, says so, and comes back."""

import logging
import random
from collections.abc import Callable
from typing import NoReturn

import structlog
import trio

from optimizer.bridge import open_bridge
from optimizer.collector.intake import Intake
from optimizer.collector.kafka.contents import ReadProtobuf
from optimizer.collector.kafka.dead_letters import DeadLetters
from optimizer.collector.kafka.delivery import Delivery
from optimizer.collector.kafka.options import Options
from optimizer.collector.kafka.session import FAILURES, Tools, hold_session
from optimizer.collector.kafka.status import Status
from optimizer.nurseries.breaker import Breaker, BreakerOpen, BreakerPolicy, BreakerState

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
POLICY = BreakerPolicy(minimum_calls=3, failure_ratio=0.5, window_s=60.0, open_s=5.0, probes=1)

log = structlog.stdlib.get_logger(__name__)


async def run(
    options: Options,
    intake: Callable[[], Intake],
    *,
    read_protobuf: ReadProtobuf,
    dead_letters: DeadLetters,
    status: Status,
    now: Callable[[], int],
    rng: random.Random,
    count: Callable[[str, str, int], None],
    probe_s: float = 5.0,
    breaker_changed: Callable[[str, BreakerState], None] | None = None,
) -> NoReturn:
    """Consume until cancelled.

    Each connection has an asyncio loop of its own, so that what a library leaves behind goes with it.
    """
    # While the broker is away the library logs about twenty errors a second; what matters of them, we say ourselves.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    breaker = Breaker("kafka", POLICY, failures=FAILURES, on_change=breaker_changed)
    tools = Tools(
        options=options,
        delivery=Delivery(intake, read_protobuf, status),
        dead_letters=dead_letters,
        breaker=breaker,
        status=status,
        count=count,
        now=now,
        probe_s=probe_s,
    )
    pause = FIRST_PAUSE_S
    while True:
        began = trio.current_time()
        try:
            async with open_bridge() as bridge:
                await hold_session(bridge, tools)
        except BreakerOpen as error:
            await trio.sleep(error.retry_after_s)
            continue
        except FAILURES as error:
            status.lag = None
            status.troubled(f"Kafka is away: {str(error) or type(error).__name__}")
            log.warning("Kafka is away", error=str(error) or type(error).__name__, again_s=round(pause, 1))
        if trio.current_time() - began > LONGEST_PAUSE_S:
            pause = FIRST_PAUSE_S  # it worked for a while
        await trio.sleep(pause * rng.uniform(0.5, 1.0))
        pause = min(pause * 2, LONGEST_PAUSE_S)
