"""The consumer against a real broker: restarts, members that come and go, a broker that dies, hangs and comes back."""

import gc
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from confluent_kafka import Producer

from optimizer.model import StorageUnavailable
from tests.collector.kafka.conftest import Broker, consuming, events
from tests.collector.otlp.conftest import open_room
from tests.services import command, recorded, service

pytestmark = pytest.mark.services


class Kafka(Broker):
    """A real broker, and a topic of its own for each test."""

    @property
    def process(self) -> int:
        """The broker's process."""
        return int(str(recorded("kafka")["pid"]))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with service("kafka") as url:
        yield url


@pytest.fixture
def kafka(address: str) -> Kafka:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})
    return Kafka(address, producer, topic=f"topic-{uuid4().hex[:8]}")


async def test_offsets_are_committed_only_when_durable_and_nothing_is_lost(kafka: Kafka, tmp_path: Path) -> None:
    away = True

    async def fail(moment: str) -> None:
        if moment == "before_append" and away:
            raise StorageUnavailable("the disk is full")

    async with open_room(faults=fail) as room:
        kafka.send(*events(range(50)))
        async with consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as first:
            await first.until(lambda: first.status.trouble == "waits for the log: the disk is full")
        assert await room.calls() == []
        away = False
        async with consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as second:
            await second.until(lambda: second.status.records == 50)
            kafka.send(*events(range(45, 60)))  # ten of them were sent before
            await second.until(lambda: second.status.records == 65)
        async with consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as third:
            kafka.send(*events([60]))
            await third.until(lambda: third.status.records == 1)  # it goes on where the second left off
        assert sorted(call.input_tokens or 0 for call in await room.calls()) == list(range(61))


async def test_members_of_a_group_that_come_and_go_lose_and_double_nothing(kafka: Kafka, tmp_path: Path) -> None:
    async with open_room() as room:
        for round_ in range(4):
            kafka.send(*events(range(round_ * 100, round_ * 100 + 100)))
            async with (
                consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as one,
                consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as two,
            ):
                await one.until(lambda: one.status.trouble is None or two.status.trouble is None)
                await one.until(lambda: one.status.records + two.status.records > 0)
        kafka.send(*events([400]))
        async with consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic) as last:
            with trio.fail_after(30):
                while len(calls := await room.calls()) < 401:  # noqa: ASYNC110 - the broker's own time
                    await trio.sleep(0.05)
            assert last.status.trouble is None
        assert sorted(call.input_tokens or 0 for call in calls) == list(range(401))


# A connection that is half made when the broker is killed is closed by the collector of garbage, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_broker_that_dies_hangs_and_comes_back_is_told_and_nothing_is_lost(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with (
        open_room() as room,
        consuming(lambda: room.intake, kafka.address, tmp_path, kafka.topic, request_ms=2_000) as consumer,
    ):
        kafka.send(*events([0]))
        await consumer.until(lambda: consumer.status.records == 1)
        os.kill(kafka.process, signal.SIGSTOP)
        try:
            await consumer.until(lambda: (consumer.status.trouble or "").startswith("Kafka"))
            item = json.loads(events([1])[0])
            assert (await room.intake.feedback([item])).accepted == 1  # the other doors are open
        finally:
            os.kill(kafka.process, signal.SIGCONT)
        await consumer.until(lambda: consumer.status.trouble is None)
        kafka.send(*events([2]))
        await consumer.until(lambda: consumer.status.records >= 2)
        os.kill(kafka.process, signal.SIGKILL)
        await consumer.until(lambda: (consumer.status.trouble or "").startswith("Kafka"))
        await trio.to_thread.run_sync(command, "up", "kafka")
        await consumer.until(lambda: consumer.status.trouble is None, 60)
        kafka.send(*events([3]))
        with trio.fail_after(60):
            while len(calls := await room.calls()) < 4:  # noqa: ASYNC110 - the broker's own time
                await trio.sleep(0.05)
        assert sorted(call.input_tokens or 0 for call in calls) == [0, 1, 2, 3]
    gc.collect()
