"""A broker in this process (librdkafka's mock cluster), and a consumer on it that delivers into a memory store."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from confluent_kafka import Producer

from optimizer.collector import Intake
from optimizer.collector.kafka import DeadLetters, Options, Status
from optimizer.collector.kafka.service import run
from optimizer.nurseries.breaker import BreakerState
from optimizer.nurseries.collecting import read_feedback
from tests.collector.otlp.conftest import NOW, Room, open_room

TOPIC = "llm-feedback"


@dataclass
class Broker:
    """Where it is, and a way to send to it."""

    address: str
    producer: Producer
    topic: str = TOPIC

    def send(self, *values: bytes, partition: int = -1, headers: dict[str, bytes] | None = None) -> None:
        """Send records and wait until the broker has them."""
        told: list[tuple[str, str | bytes | None]] = list((headers or {}).items())
        for value in values:
            self.producer.produce(self.topic, value, partition=partition, headers=told)
            self.producer.poll(0)
        assert self.producer.flush(20) == 0


@pytest.fixture
def broker() -> Broker:
    """A mock cluster of one broker; its topics have four partitions and make themselves."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored:1"})
    (found,) = producer.list_topics(timeout=10).brokers.values()
    return Broker(f"{found.host}:{found.port}", producer)


@dataclass
class Consuming:
    """A running consumer."""

    status: Status
    dead_letters: DeadLetters
    counts: dict[tuple[str, str], int]
    states: list[BreakerState]
    troubles: list[str | None]

    async def until(self, holds: Callable[[], bool], patience_s: float = 30.0) -> None:
        """Return when it holds."""
        with trio.fail_after(patience_s):
            while not holds():  # noqa: ASYNC110 - a broker's own time, which no event tells
                await trio.sleep(0.01)


@asynccontextmanager
async def consuming(
    intake: Callable[[], Intake],
    address: str,
    folder: Path,
    topic: str = TOPIC,
    *,
    dead_topic: str = "",
    request_ms: int = 15_000,
) -> AsyncIterator[Consuming]:
    """A consumer on the broker."""
    counts: dict[tuple[str, str], int] = {}
    states: list[BreakerState] = []
    troubles: list[str | None] = []

    def count(source: str, result: str, number: int) -> None:
        counts[source, result] = counts.get((source, result), 0) + number

    status = Status(lambda: troubles.append(status.trouble))
    letters = DeadLetters(folder)
    options = Options(
        brokers=(address,), topic=topic, group=f"{topic}-group", dead_letter_topic=dead_topic, request_ms=request_ms
    )

    async def consume() -> None:
        await run(
            options,
            intake,
            read_protobuf=lambda body: read_feedback(body, NOW),
            dead_letters=letters,
            status=status,
            now=lambda: NOW,
            rng=random.Random(1),
            count=count,
            probe_s=1.0,
            breaker_changed=lambda _, state: states.append(state),
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        yield Consuming(status, letters, counts, states, troubles)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def consuming_room(
    broker: Broker, folder: Path, *, dead_topic: str = ""
) -> AsyncIterator[tuple[Room, Consuming]]:
    """A memory store with the service "chat", and a consumer that delivers into it."""
    async with (
        open_room() as room,
        consuming(lambda: room.intake, broker.address, folder, dead_topic=dead_topic) as consumer,
    ):
        yield room, consumer


def events(numbers: Sequence[int]) -> list[bytes]:
    """Feedback items in JSON, one in each."""
    text = (
        '{"event_id":"e%d","occurred_at":"2026-05-31T12:00:00Z","service":"chat","variant":"small","input_tokens":%d}'
    )
    return [(text % (i, i)).encode() for i in numbers]
