"""Every method has a rule, and every rule holds for every role: a matrix generated from the protos and the roles."""

import threading
from typing import Any

import grpc
import pytest
import trio

from optimizer.grpc_api.assembly import later_methods, make_services
from optimizer.grpc_api.calls import list_routes
from optimizer.grpc_api.interceptors import Authorization
from optimizer.grpc_api.rules import PUBLIC, RULES
from optimizer.model import ConfigurationError
from optimizer.security import permissions_of
from scripts import protos
from tests.grpc_api.services.conftest import Stack

ROLES = ("admin", "user", "readonly", "api_user", "read", "write")
OWN = sorted(
    f"/{file.package}.{service.name}/{method.name}"
    for file in protos.golden().file
    for service in file.service
    for method in service.method
)
TELEMETRY = [
    f"/opentelemetry.proto.collector.{name}.v1.{name.title()}Service/Export" for name in ("trace", "logs", "metrics")
]
METHODS = sorted(OWN + TELEMETRY)


def test_no_method_lacks_a_rule_and_no_rule_lacks_a_method() -> None:
    assert sorted(RULES) == METHODS
    assert len(OWN) == 71 + 24


def test_what_is_public_is_exactly_what_the_contract_says() -> None:
    assert {path.rsplit("/", 1)[1] for path, rule in RULES.items() if rule is PUBLIC} == {
        "Check", "Readiness", "Liveness",
    }  # fmt: skip


async def test_a_method_without_a_rule_keeps_the_server_from_starting(stack: Stack) -> None:
    routes = list_routes(make_services(stack.rooms))
    Authorization(RULES).check_complete(routes)
    for path in METHODS:
        with pytest.raises(ConfigurationError, match=path.rsplit("/", maxsplit=1)[1]):
            Authorization({known: rule for known, rule in RULES.items() if known != path}).check_complete(routes)


@pytest.mark.parametrize("role", ["", *ROLES])
async def test_every_role_may_call_exactly_what_its_permissions_grant(stack: Stack, role: str) -> None:
    granted = permissions_of([role]) if role else frozenset()
    denied = grpc.StatusCode.PERMISSION_DENIED if role else grpc.StatusCode.UNAUTHENTICATED
    for path in METHODS:
        allowed = RULES[path] is PUBLIC or RULES[path] in granted
        code = await trio.to_thread.run_sync(probe, stack.channel, path, role, allowed)
        assert (code is not denied) is allowed, f"{role or 'nobody'} on {path}: {code}"


def probe(channel: grpc.Channel, path: str, role: str, allowed: bool) -> grpc.StatusCode | None:
    """How a method answers an empty request; None for a stream that stays open. Rights are looked at first."""
    call: Any = untyped(channel.unary_stream)(path)(b"", timeout=5, metadata=credentials(role))
    ended = threading.Event()
    if not call.add_callback(ended.set):
        ended.set()  # it had ended before
    try:
        ended.wait(0.03 if allowed else 5)  # subscriptions that are let in stay open
        return call.code() if ended.is_set() else None
    finally:
        call.cancel()


async def test_pending_methods_say_why(stack: Stack) -> None:
    pending = later_methods()
    assert pending
    for path, reason in pending.items():
        call: Any = untyped(stack.channel.unary_stream)(path)(b"", timeout=5, metadata=credentials("admin"))
        assert await trio.to_thread.run_sync(call.code) is grpc.StatusCode.UNIMPLEMENTED, path
        assert call.details() == reason


def credentials(role: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {role}")] if role else []


def untyped(method: Any) -> Any:
    """grpcio's stubs ask for serializers; without them it passes bytes on."""
    return method
