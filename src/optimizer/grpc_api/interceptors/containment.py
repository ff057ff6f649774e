"""The outermost interceptor: whatever happens in a call becomes its status, and nothing leaves it."""

from collections.abc import Callable
from typing import Any

import structlog
import trio
from google.rpc.error_details_pb2 import RequestInfo
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from optimizer.grpc_api.calls.failures import UNEXPECTED, Failure, explain
from optimizer.grpc_api.calls.routes import Handle, Route
from optimizer.grpc_api.calls.stream import Cause, Stream

log = structlog.stdlib.get_logger(__name__)
_BY_CAUSE = {
    Cause.CLIENT: Failure(Status.CANCELLED, "the client cancelled the call"),
    Cause.DEADLINE: Failure(Status.DEADLINE_EXCEEDED, "the deadline has passed"),
    Cause.DRAIN: Failure(Status.UNAVAILABLE, "the server is stopping", retry_after_s=1.0),
}


class Containment:
    """Enters the call's cancel scope, turns exceptions into statuses by the contract's table and sends the trailers.

    A bug is logged with its traceback and answered INTERNAL with the request's id and nothing else. Calls with one
    request and one response end after `timeout_s` when their client sets no earlier deadline; it is set here and not
    further inside because a scope's deadline is cheapest to set when the scope is made.
    """

    def __init__(self, timeout_s: Callable[[], float] | None = None) -> None:
        self._timeout_s = timeout_s

    def wrap(self, route: Route, handle: Handle) -> Handle:
        timeout_s = None if route.server_streaming or route.client_streaming else self._timeout_s

        async def contained(stream: Stream[Any, Any]) -> None:
            if timeout_s is not None:
                stream.limit(stream.started_at + timeout_s())
            failure: Failure | None = None
            with stream.listen() as scope:
                try:
                    await handle(stream)
                    if not stream.ended:
                        stream.check_replies()
                except Exception as error:  # noqa: BLE001  # the boundary: expected errors become statuses, bugs are logged
                    failure = judge(error) or self._report(route, stream, error)
            if scope.cancelled_caught:  # before anything is sent
                failure = _BY_CAUSE[stream.cause]
            try:
                stream.finish(failure)
            except StreamTerminatedError:
                stream.failure = _BY_CAUSE[Cause.CLIENT]

        return contained

    def _report(self, route: Route, stream: Stream[Any, Any], error: Exception) -> Failure:
        log.error("call failed", method=route.path, request_id=stream.request_id, exc_info=error)
        if not stream.request_id:
            return UNEXPECTED
        return Failure(UNEXPECTED.status, UNEXPECTED.message, (RequestInfo(request_id=stream.request_id),))


def judge(error: BaseException) -> Failure | None:
    """The failure that an exception stands for inside a call; None for a bug."""
    if isinstance(error, StreamTerminatedError):
        return _BY_CAUSE[Cause.CLIENT]
    if isinstance(error, ProtocolError):
        return None
    return explain(error)


def judge_ending(error: BaseException, stream: Stream[Any, Any]) -> Failure:
    """The failure by which a call ends that is left with this: an error, a bug, or a cancellation.

    A handler with tasks of its own is left with a group of cancellations.
    """
    left = error.split(trio.Cancelled)[1] if isinstance(error, BaseExceptionGroup) else error
    if left is None or isinstance(left, trio.Cancelled):
        return _BY_CAUSE[stream.cause]
    return judge(left) or UNEXPECTED
