"""The consumer against a broker: every kind of payload, poison, and a broker that is not there."""

import json
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner
from confluent_kafka import Consumer

from optimizer.cli.dead_letters import dead_letters
from optimizer.collector.kafka import DeadLetter, DeadLetters
from optimizer.collector.kafka.contents import FEEDBACK_TYPE
from optimizer.grpc_api.pb.feedback_pb2 import FeedbackEvent, RecordFeedbackRequest
from optimizer.nurseries.collecting import DEAD_LETTERS
from tests.collector.kafka.conftest import TOPIC, Broker, consuming, consuming_room, events
from tests.collector.otlp.conftest import make_request, make_span, open_room
from tests.collector.otlp.test_traces import as_json


def protobuf(*ids: str) -> bytes:
    made = [FeedbackEvent(event_id=i, service="chat", variant="small", input_tokens=5) for i in ids]
    return RecordFeedbackRequest(events=made).SerializeToString()


async def test_every_kind_of_payload_becomes_calls_and_scores(broker: Broker, tmp_path: Path) -> None:
    score = {"score_id": "s1", "value": 0.5, "source": "human", "occurred_at": "2026-05-31T12:00:00Z"}
    async with consuming_room(broker, tmp_path) as (room, consumer):
        broker.send(*events([1]))
        broker.send(
            b'{"events": [%s], "scores": [%s]}' % (events([2])[0], json.dumps({**score, "request_id": "r"}).encode())
        )
        broker.send(b"[%s,%s]" % tuple(events([3, 4])))
        broker.send(json.dumps({**score, "score_id": "s2", "response_id": "x"}).encode())
        broker.send(protobuf("p1", "p2"))
        broker.send(protobuf("p3"), headers={"content-type": FEEDBACK_TYPE.encode()})
        broker.send(make_request(make_span(1)).SerializeToString())
        broker.send(json.dumps(as_json(make_request(make_span(2)))).encode())
        broker.send(
            make_request(make_span(3)).SerializeToString(), headers={"content-type": b"application/x-otlp-traces"}
        )
        await consumer.until(lambda: consumer.status.records == 9)
        calls = await room.calls()
        assert {call.event_id for call in calls if not call.event_id.startswith("span:")} == {
            "e1", "e2", "e3", "e4", "p1", "p2", "p3",
        }  # fmt: skip
        assert sum(call.event_id.startswith("span:") for call in calls) == 3
        assert {each.score_id for each in await room.scores()} == {"s1", "s2"}
        assert (consumer.status.trouble, list(consumer.dead_letters.read())) == (None, [])


POISON = [
    b"",
    b"{",
    b"\xff\xfe\xfd",
    b"null",
    b'"text"',
    b"[1, 2]",
    b'{"events": 3}',
    b'{"resourceSpans": 3}',
    b'{"event_id": "x"}',
    b"[" * 3_000,
    bytes(1_000),
    make_request(make_span(1)).SerializeToString()[:-20],
]


async def test_poison_goes_to_the_dead_letters_with_the_reason_and_blocks_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    async with consuming_room(broker, tmp_path, dead_topic="dead") as (room, consumer):
        for i, poison in enumerate(POISON):
            broker.send(poison, *events([i]), partition=0)
        broker.send(b"{}", headers={"content-type": b"text/csv"}, partition=0)
        mixed = b'{"events": [%s, {"event_id": "bad"}]}' % events([99])[0]
        broker.send(mixed, partition=0)
        total = 2 * len(POISON) + 2
        await consumer.until(lambda: consumer.status.records == total)
        assert {call.event_id for call in await room.calls()} == {f"e{i}" for i in [*range(len(POISON)), 99]}
        letters = list(consumer.dead_letters.read())
        assert [letter.value for letter in letters[: len(POISON)]] == POISON
        assert all(letter.reason and letter.topic == TOPIC for letter in letters)
        assert letters[-1].value == mixed
        assert len({letter.offset for letter in letters}) == len(letters) == len(POISON) + 2
        assert consumer.counts["kafka", "refused"] == len(letters)
        told = await trio.to_thread.run_sync(read_topic, broker.address, "dead", len(letters))
        assert {reason for reason, _ in told} == {letter.reason.encode() for letter in letters}


def read_topic(address: str, topic: str, number: int) -> list[tuple[Any, Any]]:
    """So many records of a topic: the reason in the header, and the value."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[tuple[Any, Any]] = []
    for _ in range(600):
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            headers = dict(message.headers() or [])
            found.append((headers.get("dead-letter-reason"), message.value()))
        if len(found) == number:
            break
    consumer.close()
    return found


async def test_a_broker_that_is_not_there_is_waited_for_and_the_breaker_opens(tmp_path: Path) -> None:
    async with open_room() as room, consuming(lambda: room.intake, "127.0.0.1:1", tmp_path) as consumer:
        await consumer.until(lambda: (consumer.status.trouble or "").startswith("Kafka is away"))
        await consumer.until(lambda: bool(consumer.states))
        assert room.intake.pending == 0


async def test_dead_letters_are_listed_and_replayed_by_the_command(broker: Broker, tmp_path: Path) -> None:
    config = tmp_path / "optimizer.toml"
    config.write_text(
        f'[storage]\ndata_dir = "{tmp_path}"\n[collector]\nkafka_brokers = ["{broker.address}"]\n', encoding="utf-8"
    )
    letters = DeadLetters(tmp_path / DEAD_LETTERS)
    letters.add([refused(b"first"), refused(b"second", {"content-type": b"text/csv"})])

    def run(*words: str) -> str:
        done = CliRunner().invoke(dead_letters, [*words, "--config", str(config)], standalone_mode=False)
        assert done.exception is None, done.exception
        return done.output

    listed = await trio.to_thread.run_sync(run, "list")
    assert "2 x because" in listed
    assert "first" not in listed
    assert await trio.to_thread.run_sync(run, "replay") == "2 sent\n"
    assert list(letters.read()) == []
    back = await trio.to_thread.run_sync(read_topic, broker.address, "elsewhere", 2)
    assert sorted(value for _, value in back) == [b"first", b"second"]


def refused(value: bytes, headers: dict[str, bytes] | None = None) -> DeadLetter:
    return DeadLetter(
        at=1, reason="because", topic="elsewhere", partition=0, offset=3, timestamp_ms=1, key=b"k", value=value,
        headers=headers or {},
    )  # fmt: skip
