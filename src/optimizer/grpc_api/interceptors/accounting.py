"""The log and the metrics of a call: what it was, how it ended, how long it took."""

import random
import re
from collections.abc import Callable
from typing import Any, Final

import structlog
import trio

from optimizer.grpc_api.calls.failures import Failure
from optimizer.grpc_api.calls.journal import Journal, trace_of
from optimizer.grpc_api.calls.routes import Handle, Route
from optimizer.grpc_api.calls.stream import Stream
from optimizer.grpc_api.interceptors.containment import judge_ending
from optimizer.observability import Metrics

_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}", re.ASCII)


class Logging:
    """Gives the call its request id (the client's `x-request-id`, else a new one) and notes it in the journal.

    Both ids are bound to structlog's context, so that whatever the handler logs carries them.
    """

    def __init__(self, journal: Journal | None, rng: random.Random) -> None:
        self._journal = journal
        self._rng = rng

    def wrap(self, route: Route, handle: Handle) -> Handle:  # noqa: ARG002  # the interface of interceptors
        journal, draw = self._journal, self._rng.getrandbits

        async def logged(stream: Stream[Any, Any]) -> None:
            given = stream.fields.get("x-request-id")
            if given is not None and _REQUEST_ID.fullmatch(given):
                stream.request_id = given.decode("ascii")
            else:
                stream.request_id = f"{draw(64):016x}"
            if "traceparent" in stream.fields:
                structlog.contextvars.bind_contextvars(request_id=stream.request_id, trace_id=trace_of(stream))
            else:
                structlog.contextvars.bind_contextvars(request_id=stream.request_id)
            if journal is None:
                await handle(stream)
                return
            failure: Failure | None = None
            try:
                await handle(stream)
                failure = stream.failure
            except BaseException as error:
                failure = judge_ending(error, stream)
                raise
            finally:
                journal.record(stream, failure)

        return logged


class Metering:
    """Counts calls and their time per method and status in the contract's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def wrap(self, route: Route, handle: Handle) -> Handle:
        children: dict[str, tuple[Callable[[], None], Callable[[float], None]]] = {}
        metrics, path = self._metrics, route.path

        def count(stream: Stream[Any, Any], failure: Failure | None) -> None:
            status = "OK" if failure is None else failure.status.name
            if status not in children:
                counter = metrics.requests_total.labels(path, status)
                histogram = metrics.request_duration_seconds.labels(path, status)
                children[status] = (counter.inc, histogram.observe)
            inc, observe = children[status]
            stream.seconds = seconds = trio.current_time() - stream.started_at
            inc()
            observe(seconds)

        async def metered(stream: Stream[Any, Any]) -> None:
            try:
                await handle(stream)
            except BaseException as error:
                count(stream, judge_ending(error, stream))
                raise
            count(stream, stream.failure)

        return metered
