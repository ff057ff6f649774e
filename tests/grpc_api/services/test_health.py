"""HealthService through an unmodified client."""

import grpc
import trio

from optimizer.nurseries.supervisor import Happening, ServiceEvent
from tests.grpc_api.services.conftest import Stack


def crash(stack: Stack, service: str) -> None:
    error = RuntimeError("boom")
    event = ServiceEvent(service=service, happening=Happening.CRASHED, at=trio.current_time(), error=error)
    stack.rooms.board.observe(event)


async def test_what_is_public_needs_no_credentials(stack: Stack) -> None:
    health = stack.stub("health", "")
    assert (await health.call("Check")).status == 1
    assert (await health.call("Liveness")).alive
    assert (await health.call("Readiness")).ready
    assert await health.fails("DetailedHealth") is grpc.StatusCode.UNAUTHENTICATED
    assert await health.fails("Watch") is grpc.StatusCode.UNAUTHENTICATED


async def test_components_are_told_apart(stack: Stack) -> None:
    health = stack.stub("health")
    assert (await health.call("Check", service="processor")).status == 1
    assert await health.fails("Check", service="kitchen") is grpc.StatusCode.NOT_FOUND
    crash(stack, "collector")
    assert (await health.call("Check", service="collector")).status == 2
    detailed = (await health.call("DetailedHealth", include_components=True)).health
    by_name = {component.name: component for component in detailed.components}
    assert by_name["collector"].status == 2
    assert "boom" in by_name["collector"].message
    assert by_name["storage"].status == 1
    assert detailed.version
    assert not (await health.call("DetailedHealth")).health.components


async def test_readiness_says_why_not(stack: Stack) -> None:
    health = stack.stub("health")
    stack.rooms.board.close()
    answer = await health.call("Readiness")
    assert not answer.ready
    assert answer.not_ready_reasons
    assert (await health.call("Check")).status == 2


async def test_watchers_hear_every_change(stack: Stack) -> None:
    health = stack.stub("health")
    async with health.subscribed("Watch") as whole, health.subscribed("Watch", service="kitchen") as unknown:
        assert (await whole.next()).status == 1
        assert (await unknown.next()).status == 4
        stack.rooms.board.close()
        assert (await whole.next()).status == 2
