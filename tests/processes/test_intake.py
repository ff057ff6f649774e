"""Whole processes and their other ways in: OTLP without any set-up, Kafka under `kill -9`."""

import random
import re
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import orjson
import pytest
from confluent_kafka import Producer

from optimizer.collector.otlp import Signal
from optimizer.grpc_api.services.telemetry import PATHS
from tests.collector.otlp.conftest import CALL, make_request, make_span
from tests.processes.server import ServerProcess, environment, make_token, serving, start
from tests.services import service

SERVICE = {
    "objective": {"goal": "minimize_cost"},
    "variants": [{"name": "a"}, {"name": "b"}],
    "baseline": "a",
    "mode": "fixed",
}
RECORDS = 30_000


def totals(server: ServerProcess, events: int, patience_s: float = 60.0) -> Any:
    """The totals of "chat" once so many events are in them, or when the patience ends."""
    give_up = time.monotonic() + patience_s
    with server.client() as api:
        while True:
            found = api.get("/api/v1/services/chat/report").json().get("totals", {})
            if found.get("events", 0) >= events or time.monotonic() > give_up:
                return found


def test_an_export_to_a_fresh_server_can_be_read_and_is_counted(tmp_path: Path) -> None:
    end = time.time_ns() - 10**9
    secret = {**CALL, "gen_ai.request.model": "gpt-4o", "gen_ai.input.messages": "the secret prompt"}
    spans = [make_span(i, secret, start_time_unix_nano=end - 10**8, end_time_unix_nano=end) for i in range(1, 4)]
    body = make_request(*spans, make_span(9, {"http.method": "GET"})).SerializeToString()
    with serving(tmp_path) as server:
        with server.client() as api:
            answer = api.post("/v1/traces", content=body, headers={"content-type": "application/x-protobuf"})
            assert (answer.status_code, answer.content) == (200, b"")
        found = totals(server, 3)
        assert (found["input_tokens"], found["output_tokens"], Decimal(found["cost_usd"])) == (
            36,
            9,
            Decimal("0.00018"),
        )
        port = next(int(m[1]) for line in server.log if (m := re.search(r"endpoint listens.*?port=(\d+)", line)))
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert 'intake_items_total{result="taken",source="otlp_traces"} 3.0' in shown
        assert 'intake_items_total{result="ignored",source="otlp_traces"} 1.0' in shown
        assert server.stop() == 0
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret prompt" not in stored


def test_the_usual_ports_of_otlp_can_be_opened_beside_the_others(tmp_path: Path) -> None:
    end = time.time_ns() - 10**9
    extra = {"LLM_OPTIMIZER__COLLECTOR__OTLP_HTTP_PORT": "0", "LLM_OPTIMIZER__COLLECTOR__OTLP_GRPC_PORT": "0"}
    with serving(tmp_path, **extra) as server:
        found = dict(re.findall(r"OTLP over (HTTP|gRPC) listens.*?//127\.0\.0\.1:(\d+)", "\n".join(server.log)))
        bodies = [
            make_request(make_span(i, start_time_unix_nano=end, end_time_unix_nano=end)).SerializeToString()
            for i in (1, 2)
        ]
        credentials = {"authorization": f"Bearer {server.token}"}
        headers = {**credentials, "content-type": "application/x-protobuf"}
        answer = httpx.post(f"http://127.0.0.1:{found['HTTP']}/v1/traces", content=bodies[0], headers=headers)
        assert answer.status_code == 200
        channel: Any = grpc.insecure_channel(f"127.0.0.1:{found['gRPC']}")
        call = channel.unary_unary(PATHS[Signal.TRACES])
        assert call(bodies[1], timeout=10, metadata=list(credentials.items())) == b""
        channel.close()
        assert totals(server, 2)["input_tokens"] == 24
        assert server.stop() == 0


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with service("kafka") as url:
        yield url


@pytest.mark.services
def test_records_are_counted_once_however_often_the_server_is_killed(tmp_path: Path, brokers: str) -> None:
    topic, rng = f"topic-{uuid4().hex[:8]}", random.Random(5)
    prefix = "LLM_OPTIMIZER__COLLECTOR__KAFKA"
    environ = environment(tmp_path, **{f"{prefix}_BROKERS": orjson.dumps([brokers]).decode(), f"{prefix}_TOPIC": topic})
    token = make_token(environ)
    producer = Producer({"bootstrap.servers": brokers, "log_level": 0})
    for number in range(RECORDS):
        item = {
            "event_id": f"e{number}",
            "occurred_at": "2026-06-01T00:00:00Z",
            "service": "chat",
            "variant": "a",
            "input_tokens": number,
            "cost_usd": f"0.{number:07d}",
        }
        producer.produce(topic, orjson.dumps(item))
        producer.poll(0)
    server = start(environ, token)
    with server.client() as api:
        assert api.put("/api/v1/services/chat", json=SERVICE).status_code == 200
    assert producer.flush(60) == 0
    for _ in range(2):  # a killed member is missed by its group for ten seconds each time
        timer = threading.Timer(rng.uniform(0.3, 2.0), server.process.kill)
        timer.start()
        server.reap()
        timer.join()
        server = start(environ, token)
    found = totals(server, RECORDS)
    assert server.stop() == 0
    letters = list((tmp_path / "dead-letters").glob("*.jsonl"))
    assert letters == []
    assert found["events"] == RECORDS
    assert found["input_tokens"] == sum(range(RECORDS))
    assert found["cost_usd"] == f"{sum(range(RECORDS)) / 10**7:.7f}"
