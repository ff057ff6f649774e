"""The gRPC port of a whole process: the same state as REST, a shutdown asked for over it, subscriptions that end."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from optimizer.grpc_api.pb import admin_pb2, config_pb2, feedback_pb2, routing_pb2
from tests.processes.server import ServerProcess, serving

LISTENS = re.compile(r"gRPC API listens.*?grpc://127\.0\.0\.1:(\d+)")
Ask = Callable[..., Any]


def port_of(server: ServerProcess) -> int:
    return next(int(found[1]) for line in server.log if (found := LISTENS.search(line)))


def connect(server: ServerProcess) -> tuple[grpc.Channel, Ask]:
    """A channel, and a call of one of its unary methods as administrator."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port_of(server)}")

    def ask(path: str, request: Any, reply: Any) -> Any:
        method: Any = channel.unary_unary
        call = method(path, type(request).SerializeToString, reply.FromString)
        return call(request, timeout=10, metadata=[("authorization", f"Bearer {server.token}")])

    return channel, ask


def test_both_front_doors_show_the_same_state(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        channel, ask = connect(server)
        variants = [routing_pb2.Variant(name=name) for name in "ab"]
        service = routing_pb2.Service(
            name="chat",
            objective=routing_pb2.Objective(goal=routing_pb2.GOAL_MINIMIZE_COST),
            variants=variants,
            baseline="a",
        )
        routing, feedback = "/llm.optimizer.routing.RoutingService", "/llm.optimizer.feedback.FeedbackService"
        ask(f"{routing}/PutService", routing_pb2.PutServiceRequest(service=service), routing_pb2.PutServiceResponse)
        decision = ask(f"{routing}/Decide", routing_pb2.DecideRequest(service="chat"), routing_pb2.Decision)
        event = feedback_pb2.FeedbackEvent(event_id="1", assignment_id=decision.assignment_id, cost_usd="0.5")
        receipt = ask(
            f"{feedback}/RecordFeedback",
            feedback_pb2.RecordFeedbackRequest(events=[event]),
            feedback_pb2.RecordFeedbackResponse,
        )
        assert receipt.accepted == 1
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.token}"}) as rest:
            assert rest.get("/api/v1/services/chat").json()["baseline"] == "a"
            again = rest.post("/api/v1/feedback", json={"events": [{
                "event_id": "1", "service": "chat", "occurred_at": "2026-01-01T00:00:00Z",
            }]}).json()  # fmt: skip
            assert again["duplicates"] == 1, "one idempotency key for both doors"
        channel.close()
        assert server.stop() == 0


@pytest.mark.parametrize("watchers", [20])
def test_a_shutdown_over_grpc_ends_subscriptions_at_once(tmp_path: Path, watchers: int) -> None:
    with serving(tmp_path) as server:
        channel, ask = connect(server)
        method: Any = channel.unary_stream
        watch = method(
            "/llm.optimizer.config.ConfigService/WatchConfig",
            config_pb2.WatchConfigRequest.SerializeToString,
            config_pb2.ConfigChangeEvent.FromString,
        )
        metadata = [("authorization", f"Bearer {server.token}")]
        streams = [watch(config_pb2.WatchConfigRequest(), metadata=metadata) for _ in range(watchers)]
        for stream in streams:
            stream.initial_metadata()
        codes: list[grpc.StatusCode] = []

        def read(stream: Any) -> None:
            codes.append(stream.code())

        readers = [threading.Thread(target=read, args=(stream,)) for stream in streams]
        for reader in readers:
            reader.start()
        request = admin_pb2.GracefulShutdownRequest(reason="test")
        answer = ask("/llm.optimizer.admin.AdminService/GracefulShutdown", request, admin_pb2.GracefulShutdownResponse)
        assert answer.initiated
        for reader in readers:
            reader.join(10)
        channel.close()
        server.reap()
        assert server.process.returncode == 0
        assert codes == [grpc.StatusCode.UNAVAILABLE] * watchers
        assert any("asked for by" in line for line in server.log)
