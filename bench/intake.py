"""How many events a second become durable by each way in, and what does one cost the server?

    python -m bench.intake [--seconds 5] [--batch 200] [--connections 2] [--kafka HOST:PORT]

The ways are each other's peers: the same call, told as JSON over REST, as a protobuf batch and as a stream over gRPC,
as an OTLP span over HTTP and gRPC, and as a JSON record on Kafka (with a broker: `scripts/services up kafka`). The
server is pinned to one core and the client to another. CPU for each event is the server's own; the share of time that
it was busy says whether the rate is its limit or the client's.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from bench.server import Server, running
from optimizer.grpc_api.pb import feedback_pb2 as pb

SERVER_CORE, CLIENT_CORE = 0, 1 if (os.cpu_count() or 1) > 1 else 0
PATIENCE_S = 60.0
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
FEEDBACK = "/llm.optimizer.feedback.FeedbackService"
Send = Callable[[], None]


@dataclass(frozen=True)
class Load:
    """How it is measured."""

    seconds: float
    batch: int
    connections: int


def make_item() -> dict[str, object]:
    """One call, as an application would tell it."""
    return {
        "event_id": uuid.uuid4().hex,
        "occurred_at": "2026-11-01T00:00:00.123456+00:00",
        "service": "bench",
        "variant": "a",
        "model": "some-model",
        "latency_ms": 812.5,
        "input_tokens": 614,
        "output_tokens": 28,
        "cost_usd": "0.000188700",
    }


def make_event() -> pb.FeedbackEvent:
    """The same in protobuf."""
    told: dict[str, Any] = {name: value for name, value in make_item().items() if name != "occurred_at"}
    event = pb.FeedbackEvent(**told)
    event.occurred_at.FromJsonString("2026-11-01T00:00:00.123456Z")
    return event


def make_export(batch: int) -> bytes:
    """The same as spans."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="bench")))
    spans = group.scope_spans.add().spans
    end = 1_793_491_200_123_456_000
    texts = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "some-model",
             "llm_optimizer.variant": "a", "gen_ai.usage.cost.amount": "0.000188700"}  # fmt: skip
    attributes = [KeyValue(key=name, value=AnyValue(string_value=text)) for name, text in texts.items()]
    counts = {"gen_ai.usage.input_tokens": 614, "gen_ai.usage.output_tokens": 28}
    attributes += [KeyValue(key=name, value=AnyValue(int_value=number)) for name, number in counts.items()]
    for _ in range(batch):
        identity = uuid.uuid4().bytes
        spans.add(
            trace_id=identity, span_id=identity[:8], name="chat", start_time_unix_nano=end - 812_500_000,
            end_time_unix_nano=end, attributes=attributes,
        )  # fmt: skip
    return request.SerializeToString()


def post(server: Server, path: str, kind: str, make: Callable[[], bytes]) -> Callable[[], Send]:
    """Requests over HTTP, one connection for each sender."""

    def connect() -> Send:
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

        def send() -> None:
            headers = {"content-type": kind, "authorization": f"Bearer {server.token}"}
            connection.request("POST", path, make(), headers)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {body[:200]!r}")

        return send

    return connect


def unary(server: Server, path: str, make: Callable[[], bytes]) -> Callable[[], Send]:
    """Unary calls over gRPC, one connection for each sender."""

    def connect() -> Send:
        channel: Any = grpc.insecure_channel(address(server), options=[("grpc.use_local_subchannel_pool", 1)])
        call = channel.unary_unary(path)
        return lambda: call(make(), timeout=30, metadata=[("authorization", f"Bearer {server.token}")])

    return connect


def address(server: Server) -> str:
    """The gRPC port, as grpcio wants it."""
    return server.grpc.split("://", 1)[1]


def run(load: Load, connect: Callable[[], Send]) -> int:
    """Send batches from some threads until the time is up; the number of acknowledged events."""
    done: list[int] = []
    end = time.monotonic() + load.seconds

    def work() -> None:
        send = connect()
        while time.monotonic() < end:
            send()
            done.append(load.batch)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(load.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)


def stream(server: Server, load: Load) -> int:
    """One client stream: batches go out as fast as flow control lets them; the answer comes when all are durable."""
    end = time.monotonic() + load.seconds

    def messages() -> Iterator[bytes]:
        while time.monotonic() < end:
            yield pb.RecordFeedbackRequest(events=[make_event() for _ in range(load.batch)]).SerializeToString()

    channel: Any = grpc.insecure_channel(address(server))
    call = channel.stream_unary(
        f"{FEEDBACK}/UploadFeedback", response_deserializer=pb.RecordFeedbackResponse.FromString
    )
    reply = call(messages(), timeout=load.seconds + PATIENCE_S, metadata=[("authorization", f"Bearer {server.token}")])
    if reply.rejected_total:
        raise RuntimeError(str(reply.rejected[0]))
    return int(reply.accepted)


def consume(server: Server, brokers: str, topic: str, number: int) -> int:
    """So many records on Kafka; returns when all of them are in the report."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5})
    before = events(server)
    for _ in range(number):
        producer.produce(topic, json.dumps(make_item()))
        producer.poll(0)
    producer.flush(PATIENCE_S)
    give_up = time.monotonic() + PATIENCE_S
    while events(server) < before + number:
        if time.monotonic() > give_up:
            raise RuntimeError("the records did not arrive")
        time.sleep(0.05)
    return number


def events(server: Server) -> int:
    """How many events the report counts."""
    totals: Any = server.get("/api/v1/services/bench/report")["totals"]
    return int(totals["events"])


def measure(server: Server, name: str, work: Callable[[], int]) -> dict[str, Any]:
    """Rate, CPU of the server for each event, and how busy it was."""
    began, cpu = time.monotonic(), server.cpu_seconds()
    number = work()
    seconds, used = time.monotonic() - began, server.cpu_seconds() - cpu
    found = {
        "events_s": round(number / seconds),
        "cpu_us_per_event": round(used / number * 1e6, 1),
        "busy": round(used / seconds, 2),
    }
    print(f"{name:24} {found['events_s']:>9,} {found['cpu_us_per_event']:>12} {found['busy']:>8}")
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--kafka", default="", help="host:port of a broker")
    args = parser.parse_args()
    load = Load(args.seconds, args.batch, args.connections)
    os.sched_setaffinity(0, {CLIENT_CORE})
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    told = {"COLLECTOR__KAFKA_BROKERS": json.dumps([args.kafka]), "COLLECTOR__KAFKA_TOPIC": topic} if args.kafka else {}

    def batch_json() -> bytes:
        return json.dumps({"events": [make_item() for _ in range(load.batch)]}).encode()

    def batch_protobuf() -> bytes:
        return pb.RecordFeedbackRequest(events=[make_event() for _ in range(load.batch)]).SerializeToString()

    def batch_spans() -> bytes:
        return make_export(load.batch)

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), core=SERVER_CORE, **told) as server:
        server.put("bench", {"objective": {"goal": "minimize_cost"}, "baseline": "a", "mode": "fixed"})
        ways: dict[str, Callable[[], int]] = {
            "REST, JSON": lambda: run(load, post(server, "/api/v1/feedback", "application/json", batch_json)),
            "gRPC, unary": lambda: run(load, unary(server, f"{FEEDBACK}/RecordFeedback", batch_protobuf)),
            "gRPC, client stream": lambda: stream(server, load),
            "OTLP, HTTP": lambda: run(load, post(server, "/v1/traces", "application/x-protobuf", batch_spans)),
            "OTLP, gRPC": lambda: run(load, unary(server, EXPORT, batch_spans)),
        }
        if args.kafka:
            ways["Kafka, JSON records"] = lambda: consume(server, args.kafka, topic, 20_000)
        print(f"{'way':24} {'events/s':>9} {'CPU us/event':>12} {'busy':>8}")
        for name, work in ways.items():
            found[name] = measure(server, name, work)
    print("RESULT " + json.dumps({"batch": load.batch, "connections": load.connections, "ways": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
