"""The collector wired to the rest of the process: the intake, and the Kafka consumer when brokers are set."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import trio
from google.protobuf.message import DecodeError

from optimizer import collector
from optimizer.bus import Slot
from optimizer.collector import Intake, Pricer, kafka
from optimizer.config import Settings
from optimizer.grpc_api.convert.feedback import EPOCH, from_feedback
from optimizer.grpc_api.pb.feedback_pb2 import RecordFeedbackRequest
from optimizer.model import InvalidArgument, Listing
from optimizer.nurseries.breaker import BreakerState
from optimizer.nurseries.policy import Probe, Verdict
from optimizer.root import Parts
from optimizer.storage import Store

DEAD_LETTERS = "dead-letters"  # folder below storage.data_dir


async def collect(
    parts: Parts,
    store: Store,
    listings: Callable[[], Mapping[str, Listing]],
    intake: Slot[Intake],
    *,
    keys: tuple[bytes, ...],
    pricer: Pricer,
    status: kafka.Status,
    folded: Callable[[], Awaitable[object]],
    threads: bool,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take in whatever arrives, until cancelled. `threads`: prices may be prepared in one.

    Nothing is consumed before `folded` returns: until the log is folded no service is known, and every call would be
    refused. The ports need no such care, they open later.
    """
    settings, count = parts.settings.get(), count_items(parts)

    async def run_intake(*, task_status: trio.TaskStatus[None]) -> None:
        await collector.run(
            store,
            listings,
            intake,
            keys=keys,
            price=pricer,
            now=parts.around.now,
            bounds=collector.Bounds(
                pending=settings.collector.buffer_size,
                batch=settings.limits.batch_events,
                future_us=int(settings.limits.future_skew_s * 1e6),
                past_us=int(settings.limits.past_horizon_s * 1e6),
            ),
            rules=collector.Rules(
                keep_content=lambda: parts.settings.get().collector.keep_content,
                services=settings.collector.observed_services,
            ),
            count=count,
            warm=pricer.warm if threads else None,
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        await nursery.start(run_intake)
        task_status.started()
        if settings.collector.kafka_brokers:
            from optimizer.collector.kafka.service import run as consume  # with its library, where it is wanted

            await folded()
            await consume(
                options_of(settings),
                intake.get,
                read_protobuf=lambda body: read_feedback(body, parts.around.now()),
                dead_letters=kafka.DeadLetters(settings.storage.data_dir / DEAD_LETTERS),
                status=status,
                now=parts.around.now,
                rng=parts.around.rng,
                count=count,
                breaker_changed=lambda name, state: show_breaker(parts, name, state),
            )


def options_of(settings: Settings) -> kafka.Options:
    """How the settings say that Kafka is reached."""
    told = settings.collector
    return kafka.Options(
        brokers=told.kafka_brokers,
        topic=told.kafka_topic,
        group=told.kafka_group_id,
        dead_letter_topic=told.kafka_dead_letter_topic,
        security=told.kafka_security,
        sasl_mechanism=told.kafka_sasl_mechanism,
        username=told.kafka_username,
        password="" if told.kafka_password is None else told.kafka_password.get_secret_value(),
        ca_path=told.kafka_ca_path,
    )


def read_feedback(body: bytes, now: int) -> list[object]:
    """The events of a `RecordFeedbackRequest` as items of the intake. Raises InvalidArgument."""
    try:
        request = RecordFeedbackRequest.FromString(body)
    except DecodeError as error:
        raise InvalidArgument("the record is no RecordFeedbackRequest") from error
    if not request.events:
        raise InvalidArgument("the record holds no events")
    arrived = EPOCH + timedelta(microseconds=now)
    return [from_feedback(event, arrived) for event in request.events]


def make_status(parts: Parts) -> kafka.Status:
    """The consumer's status, which health shows as soon as it changes."""

    def changed() -> None:
        parts.board.judge("collector", judge_collector(parts, status))

    status = kafka.Status(changed)
    parts.topics.queues["kafka"] = lambda: status.lag or 0
    return status


def judge_collector(parts: Parts, status: kafka.Status) -> Probe:
    """Degraded while the topic cannot be consumed: the other ways in are open, and restarting would not help."""
    if not parts.settings.get().collector.kafka_brokers:
        return Probe()
    verdict = Verdict.HEALTHY if status.trouble is None else Verdict.DEGRADED
    return Probe(verdict=verdict, message=status.trouble, metadata=status.metadata())


def show_breaker(parts: Parts, name: str, state: BreakerState) -> None:
    """The breaker's state as a metric."""
    parts.metrics.breaker_state.labels(name).set(state.value)


def count_items(parts: Parts) -> Callable[[str, str, int], None]:
    """Count what came in under its source and what became of it."""

    def count(source: str, result: str, number: int) -> None:
        parts.metrics.intake_items_total.labels(source, result).inc(number)

    return count
