"""What the services have in common: the call as they see it, unary methods as plain functions, methods yet to come."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Protocol, TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer.grpc_api.calls.framing import Frame
from optimizer.security import Identity, Permission, require

S = TypeVar("S")
Recv = TypeVar("Recv")
Send = TypeVar("Send")
RecvCo = TypeVar("RecvCo", covariant=True)
SendContra = TypeVar("SendContra", contravariant=True)

Method = Callable[[S, Any], Coroutine[Any, Any, None]]


class Call(Protocol[RecvCo, SendContra]):
    """What handlers use of a call: its messages and who made it."""

    user: Any
    request_id: str

    async def recv_message(self) -> RecvCo | None:
        """The next request message, None at the end."""
        ...

    async def send_message(self, message: SendContra | Frame) -> None:
        """Send one message; a frame (which may hold several) goes out as it is."""
        ...

    def __aiter__(self) -> "Call[RecvCo, SendContra]": ...

    async def __anext__(self) -> RecvCo: ...


def unary(method: Callable[[S, Recv, "Call[Recv, Send]"], Awaitable[Send]]) -> Method[S]:
    """A method with one request and one reply, written as a function from one to the other."""

    @wraps(method)
    async def handle(self: S, stream: "Call[Recv, Send]") -> None:
        await stream.send_message(await method(self, await first(stream), stream))

    return handle


async def first(stream: "Call[Recv, Any]") -> Recv:
    """The request of a method that has exactly one."""
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.UNIMPLEMENTED, "this method takes exactly one request message")
    return request


def coming(reason: str) -> Method[Any]:
    """A method that a later version brings: it answers UNIMPLEMENTED with the reason, never with an empty success."""

    async def handle(self: object, stream: "Call[Any, Any]") -> None:  # noqa: ARG001 - the signature of methods
        await first(stream)
        raise GRPCError(Status.UNIMPLEMENTED, reason)

    handle.__dict__["reason"] = reason
    return handle


def caller(call: "Call[Any, Any]") -> str:
    """Who made the call, for the record."""
    user = call.user
    return user.subject if isinstance(user, Identity) else "anonymous"


def demand(call: "Call[Any, Any]", permission: Permission) -> None:
    """Return when the caller holds a permission beyond the method's own. Raises PermissionDenied."""
    user = call.user
    if not isinstance(user, Identity):
        raise GRPCError(Status.PERMISSION_DENIED, f"this needs the permission {permission.value}")
    require(user, permission)
