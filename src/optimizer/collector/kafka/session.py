"""One connection to the broker: read, deliver, commit, and watch that the broker still answers."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
import trio
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from optimizer.bridge import Bridge
from optimizer.collector.kafka.contents import Taken
from optimizer.collector.kafka.dead_letters import DeadLetter, DeadLetters
from optimizer.collector.kafka.delivery import Delivery
from optimizer.collector.kafka.options import Options, opened_consumer, opened_producer
from optimizer.collector.kafka.status import Status
from optimizer.model import Unavailable
from optimizer.nurseries.breaker import Breaker

POLL_MS = 500
RECORDS = 1_000  # of one poll
CONNECT_S = 30.0  # joining a group waits for its other members
AWAY_S = 60.0  # a connection that has not answered for so long is opened anew
DISK_S = 5.0  # between two attempts to write dead letters
TELL_S = 10.0  # for a dead letter on its way to the topic; on disk it is already

FAILURES = (KafkaError, Unavailable, trio.TooSlowError, OSError)
"""What says that the broker is away, hangs or refuses: never a reason for more than waiting."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a session works with. `count` is told source, result and number; `now` is microseconds since 1970;
    `probe_s` is the time between two questions whether the broker is there."""

    options: Options
    delivery: Delivery
    dead_letters: DeadLetters
    breaker: Breaker
    status: Status
    count: Callable[[str, str, int], None]
    now: Callable[[], int]
    probe_s: float


async def hold_session(bridge: Bridge, tools: Tools) -> NoReturn:
    """Consume until the broker is away. Raises one of `FAILURES`."""
    async with AsyncExitStack() as stack:
        with tools.breaker.guard(), trio.fail_after(CONNECT_S):
            consumer = await stack.enter_async_context(bridge.opened(lambda: opened_consumer(tools.options)))
        session = Session(bridge, consumer, tools)
        tools.status.well()
        log.info("Kafka is connected", topic=tools.options.topic, group=tools.options.group)
        failed: list[BaseException] = []
        async with trio.open_nursery() as nursery:

            async def until_failure(work: Callable[[], Any]) -> None:
                try:
                    await work()
                except FAILURES as error:
                    failed.append(error)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(until_failure, session.consume)
            nursery.start_soon(until_failure, session.watch)
        raise failed[0]


class Session:
    """A consumer that has joined its group."""

    def __init__(self, bridge: Bridge, consumer: Any, tools: Tools) -> None:
        self._bridge = bridge
        self._consumer = consumer
        self._tools = tools

    async def consume(self) -> NoReturn:
        """Deliver batch after batch; offsets are committed when their records are durable."""
        while True:
            polled: dict[TopicPartition, list[ConsumerRecord]] = await self._bridge.run(
                self._consumer.getmany, timeout_ms=POLL_MS, max_records=RECORDS
            )
            records = [_taken(record) for batch in polled.values() for record in batch]
            if not records:
                continue
            refused = await self._tools.delivery.deliver(records)
            if refused:
                await self._bury([_letter(records[i], why, self._tools.now()) for i, why in sorted(refused.items())])
            self._tools.status.records += len(records)
            self._tools.count("kafka", "taken", len(records) - len(refused))
            self._tools.count("kafka", "refused", len(refused))
            await self._commit({place: batch[-1].offset + 1 for place, batch in polled.items() if batch})

    async def watch(self) -> NoReturn:
        """Ask for the ends of the partitions again and again: the lag, and whether anybody answers."""
        tools, answered = self._tools, trio.current_time()
        while True:
            await trio.sleep(tools.probe_s)
            try:
                # The library's own limit comes first: its connections do not like to be cancelled half made.
                with tools.breaker.guard(), trio.fail_after(tools.options.request_ms / 500):
                    tools.status.lag = await self._bridge.run(read_lag, self._consumer)
            except FAILURES as error:
                tools.status.troubled(f"Kafka does not answer: {_words(error)}")
                if trio.current_time() - answered >= AWAY_S:
                    raise
            else:
                answered = trio.current_time()
                if tools.status.trouble is None or tools.status.trouble.startswith("Kafka"):
                    tools.status.well()

    async def _bury(self, letters: list[DeadLetter]) -> None:
        """Keep the letters on disk, whatever it takes, then tell the topic for dead letters, if it can be told."""
        while True:
            try:
                await trio.to_thread.run_sync(self._tools.dead_letters.add, letters)
                self._tools.status.well()
                break
            except OSError as error:
                self._tools.status.troubled(f"dead letters cannot be written: {error.strerror or error}")
                await trio.sleep(DISK_S)
        self._tools.status.dead_letters += len(letters)
        log.warning("Kafka records refused", number=len(letters), first=letters[0].reason, offset=letters[0].offset)
        topic = self._tools.options.dead_letter_topic
        if not topic:
            return
        try:
            with trio.fail_after(TELL_S):
                async with self._bridge.opened(lambda: opened_producer(self._tools.options)) as producer:
                    await self._bridge.run(send_all, producer, topic, letters)
        except FAILURES as error:
            log.warning("dead letters stay on disk alone", topic=topic, error=_words(error))
            self._tools.count("kafka_dead_letters", "untold", len(letters))

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._bridge.run(self._consumer.commit, offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # The group was rebalanced meanwhile: the next owner gets these records again, and the log skips them.
            log.info("offsets were not committed: the partitions have another owner", error=_words(error))


async def read_lag(consumer: Any) -> int:
    """Records that are on the broker and not delivered yet, over the partitions of this member."""
    places = consumer.assignment()
    if not places:
        await consumer.topics()  # nothing to ask about, but the broker has to answer
        return 0
    ends = await consumer.end_offsets(places)
    return sum([max(ends[place] - await consumer.position(place), 0) for place in places])


async def send_all(producer: Any, topic: str, letters: list[DeadLetter]) -> None:
    """Send the letters to a topic, each with its own headers, key and value, and where it came from."""
    sent = []
    for letter in letters:
        origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
        headers = {
            **letter.headers,
            "dead-letter-reason": letter.reason.encode(),
            "dead-letter-origin": origin.encode(),
        }
        sent.append(await producer.send(topic, value=letter.value, key=letter.key, headers=list(headers.items())))
    for delivered in sent:
        await delivered


async def send_back(producer: Any, letters: list[DeadLetter]) -> None:
    """Send each letter to the topic that it came from, as it was."""
    sent = [
        await producer.send(letter.topic, value=letter.value, key=letter.key, headers=list(letter.headers.items()))
        for letter in letters
    ]
    for delivered in sent:
        await delivered


def _taken(record: ConsumerRecord) -> Taken:
    headers: dict[str, bytes] = {}
    for name, value in record.headers or ():
        headers.setdefault(name, value or b"")
    return Taken(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=headers,
    )


def _letter(record: Taken, reason: str, now: int) -> DeadLetter:
    return DeadLetter(
        at=now,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=dict(record.headers),
    )


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
