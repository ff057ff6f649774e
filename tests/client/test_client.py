"""The Trio client: all four kinds of call against the real port, and connections that come and go."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer.client import Client, open_client
from optimizer.grpc_api.pb import config_pb2, feedback_pb2, health_pb2, optimization_pb2, routing_pb2
from tests.grpc_api.services.conftest import Stack, open_stack

Opened = tuple[Client, Stack]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    def none(name: str) -> Any:
        raise AssertionError(name)

    async with open_stack(none, tmp_path) as stack, open_client(port=stack.port, token="admin") as client:
        variants = [routing_pb2.Variant(name=name) for name in "ab"]
        service = routing_pb2.Service(
            name="chat",
            objective=routing_pb2.Objective(goal=routing_pb2.GOAL_MINIMIZE_COST),
            variants=variants,
            baseline="a",
        )
        await client.routing.PutService(routing_pb2.PutServiceRequest(service=service))
        yield client, stack


async def test_unary(opened: Opened) -> None:
    client, _ = opened
    decision = await client.routing.Decide(routing_pb2.DecideRequest(service="chat"))
    assert decision.variant in ("a", "b")
    with pytest.raises(GRPCError) as caught:
        await client.routing.Decide(routing_pb2.DecideRequest(service="größer"))
    assert caught.value.status is Status.NOT_FOUND
    assert "größer" in (caught.value.message or "")


async def test_server_streaming(opened: Opened) -> None:
    client, _ = opened
    async with client.config.WatchConfig.open() as call:
        await call.send_message(config_pb2.WatchConfigRequest(keys=["a"]), end=True)
        await call.recv_initial_metadata()
        for i in range(3):
            await client.config.SetConfig(config_pb2.SetConfigRequest(key="a", value=str(i)))
        assert [(await call.recv_message()).new_value for _ in range(3)] == ["0", "1", "2"]


async def test_client_streaming(opened: Opened) -> None:
    client, _ = opened
    requests = [
        feedback_pb2.RecordFeedbackRequest(
            events=[feedback_pb2.FeedbackEvent(event_id=f"{i}.{j}", service="chat", variant="a") for j in range(100)]
        )
        for i in range(50)
    ]
    assert (await client.feedback.UploadFeedback(requests)).accepted == 5000
    assert (await client.feedback.UploadFeedback([])).accepted == 0


async def test_bidirectional(opened: Opened) -> None:
    client, _ = opened
    message, control = optimization_pb2.OptimizationSessionMessage, optimization_pb2.OptimizationSessionControl
    async with client.optimization.OptimizationSession.open() as call:
        await call.send_message(message(control=control(type=control.CONTROL_TYPE_START)))
        assert (await call.recv_message()).control.session_id
        await call.send_message(message(query=optimization_pb2.OptimizationQuery(target_services=["chat"])))
        assert (await call.recv_message()).suggestion.explanation
        await call.end()
        assert await call.recv_message() is None
    replies = await client.routing.DecideStream([routing_pb2.DecideRequest(service="chat")] * 2000)
    assert len(replies) == 2000


async def test_large_messages_pass_flow_control_in_both_directions(opened: Opened) -> None:
    client, _ = opened
    for i in range(40):
        await client.config.SetConfig(config_pb2.SetConfigRequest(key=f"k{i}", value="x" * 25_000))
    exported = await client.config.ExportConfig(config_pb2.ExportConfigRequest())
    assert len(exported.config_data) > 1_000_000
    target = {"scope": config_pb2.CONFIG_SCOPE_USER, "scope_id": "ann"}
    request = config_pb2.ImportConfigRequest(config_data=exported.config_data, merge=True, **target)  # type: ignore[arg-type]
    assert (await client.config.ImportConfig(request)).imported_count == 40


async def test_many_calls_share_a_connection(opened: Opened) -> None:
    client, _ = opened
    done: list[str] = []

    async def decide() -> None:
        done.append((await client.routing.Decide(routing_pb2.DecideRequest(service="chat"))).variant)

    async with trio.open_nursery() as nursery:
        for _ in range(300):  # more than the server's limit of concurrent calls
            nursery.start_soon(decide)
    assert len(done) == 300


async def test_leaving_a_call_cancels_it(opened: Opened) -> None:
    client, stack = opened
    async with client.config.WatchConfig.open() as call:
        await call.send_message(config_pb2.WatchConfigRequest(), end=True)
        await call.recv_initial_metadata()
        assert len(stack.rooms.subscriptions) == 1
    with trio.fail_after(5):
        while len(stack.rooms.subscriptions):
            await client.health.Check(health_pb2.HealthCheckRequest())


async def test_a_deadline_ends_a_call(opened: Opened) -> None:
    client, _ = opened
    with pytest.raises(GRPCError) as caught:
        await client.config.WatchConfig(config_pb2.WatchConfigRequest(), timeout=0.05)
    assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_a_drained_server_ends_calls_and_another_one_is_found(
    tmp_path: Path, unused: Callable[[str], Any]
) -> None:
    async with open_stack(unused, tmp_path) as stack, open_client(port=stack.port, token="admin") as client:
        async with client.config.WatchConfig.open() as call:
            await call.send_message(config_pb2.WatchConfigRequest(), end=True)
            await call.recv_initial_metadata()
            stack.drain()
            with pytest.raises(GRPCError) as caught:
                await call.recv_message()
            assert caught.value.status is Status.UNAVAILABLE
        with pytest.raises(GRPCError) as refused:
            await client.health.Check(health_pb2.HealthCheckRequest())
        assert refused.value.status is Status.UNAVAILABLE


@pytest.fixture
def unused() -> Callable[[str], Any]:
    def none(name: str) -> Any:
        raise AssertionError(name)

    return none


async def test_no_server() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    async with open_client(port=port) as client:
        with pytest.raises(GRPCError) as caught:
            await client.health.Check(health_pb2.HealthCheckRequest())
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_refused_caller(tmp_path: Path, unused: Callable[[str], Any]) -> None:
    async with open_stack(unused, tmp_path) as stack, open_client(port=stack.port) as client:
        assert (await client.health.Check(health_pb2.HealthCheckRequest())).status == 1
        with pytest.raises(GRPCError) as caught:
            await client.config.GetConfig(config_pb2.GetConfigRequest(key="a"))
        assert caught.value.status is Status.UNAUTHENTICATED


async def test_the_example_of_the_documentation_runs(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    _, stack = opened
    text = (Path(__file__).parents[2] / "docs/api.md").read_text()
    example = text.split("```python")[1].split("```")[0]
    example = example.replace('"127.0.0.1", 50051, token="..."', f'port={stack.port}, token="admin"')
    names: dict[str, Any] = {}
    exec(example.replace("trio.run(main)", ""), names)
    await names["main"]()
    said = capsys.readouterr().out
    assert said.startswith("1\n")
    assert 'new_value: "brief"' in said
    assert "recorded calls" in said
