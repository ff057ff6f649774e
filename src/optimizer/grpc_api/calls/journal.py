"""One log line per call, at a cost that 20,000 calls a second can pay: records are collected and written in batches."""

import datetime
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson
import trio

from optimizer.grpc_api.calls.failures import Failure
from optimizer.grpc_api.calls.stream import Stream

_FLUSH_S: Final = 0.2
_BATCH: Final = 256  # lines of one write
KEPT: Final = 4_096  # records between two flushes, some 3 KiB each; more are dropped and counted
_LEVELS: Final = ("info", "warn")  # of calls
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
_SERVER_FAULTS: Final = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class CallLog(Protocol):
    """The process's log: where lines go (must return at once), whether they are JSON, which levels it shows now."""

    json: bool

    def write_line(self, line: str) -> None: ...

    def shows(self, level: str) -> bool: ...


# A finished call: its end in seconds since 1970, its stream, how it failed, the seconds that it took. A plain tuple,
# rendered later, because one is made for every call.
Record = tuple[float, Stream[Any, Any], Failure | None, float]


class Journal:
    """Collects records; `run` writes them. `clock` tells seconds since 1970."""

    def __init__(self, log: CallLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._records: list[Record] = []
        self._full = trio.Event()
        self.dropped = 0

    def record(self, stream: Stream[Any, Any], failure: Failure | None) -> None:
        """Note a finished call."""
        records = self._records
        if len(records) >= KEPT:
            self.dropped += 1
            return
        seconds = trio.current_time() - stream.started_at if stream.seconds is None else stream.seconds
        records.append((self._clock(), stream, failure, seconds))
        if len(records) == _BATCH:
            self._full.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; what is left then is written before it ends."""
        task_status.started()
        try:
            while True:
                with trio.move_on_after(_FLUSH_S):
                    await self._full.wait()
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        records, self._records = self._records, []
        self._full = trio.Event()
        render = render_json if self._log.json else render_plain
        levels = {level for level in _LEVELS if self._log.shows(level)}
        shown = [record for record in records if level_of(record) in levels]
        for start in range(0, len(shown), _BATCH):
            self._log.write_line("\n".join(render(record) for record in shown[start : start + _BATCH]))


def level_of(record: Record) -> str:
    """A fault of the server is a warning, everything else is information."""
    failure = record[2]
    return "warn" if failure is not None and failure.status.name in _SERVER_FAULTS else "info"


def render_json(record: Record) -> str:
    """The line as one JSON object."""
    return orjson.dumps(fields_of(record)).decode()


def render_plain(record: Record) -> str:
    """The line as the console shows others: time, level, event, then what is known of the call."""
    fields = fields_of(record)
    at = datetime.datetime.fromtimestamp(record[0], datetime.UTC).isoformat().replace("+00:00", "Z")
    level, event = str(fields.pop("level")), str(fields.pop("event"))
    del fields["timestamp"]
    known = " ".join(f"{name}={value!r}" if name == "message" else f"{name}={value}" for name, value in fields.items())
    return f"{at} [{level:<9}] {event} {known}"


def fields_of(record: Record) -> dict[str, object]:
    """What is told of a finished call."""
    at, stream, failure, seconds = record
    status = "OK" if failure is None else failure.status.name
    fields: dict[str, object] = {
        "timestamp": datetime.datetime.fromtimestamp(at, datetime.UTC),
        "level": level_of(record),
        "event": "call",
        "method": stream.route.path,
        "status": status,
        "duration_ms": round(seconds * 1e3, 3),
        "request_id": stream.request_id,
        "peer": stream.peer.address,
        "requests": stream.requests,
        "replies": stream.replies,
    }
    if failure is not None:
        fields["message"] = failure.message
    if stream.user is not None:
        fields["user"] = stream.user.subject
    trace_id = trace_of(stream)
    if trace_id is not None:
        fields["trace_id"] = trace_id
    return fields


def trace_of(stream: Stream[Any, Any]) -> str | None:
    """The trace id of a W3C `traceparent`; None without a valid one."""
    parent = stream.fields.get("traceparent")
    if parent is None:
        return None
    match = _TRACEPARENT.fullmatch(parent)
    return None if match is None or match[1] == b"0" * 32 else match[1].decode()
