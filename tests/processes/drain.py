"""A whole server stopped while 200 gRPC calls are in flight, and what client, log and next start say about each."""

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from optimizer.grpc_api.pb import config_pb2, feedback_pb2, routing_pb2
from tests.processes.server import ServerProcess
from tests.processes.test_signals import stop_order

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
CHANNELS = 3  # connections; each of them carries every kind of call
WINDOW = 20  # unary calls of one kind that a connection keeps in flight: 120 of the 200
UPLOADS, EXCHANGES, WATCHES = 30, 20, 30
IN_FLIGHT = 2 * CHANNELS * WINDOW + UPLOADS + EXCHANGES + WATCHES
PATIENCE_S = 60.0
_LISTENS = re.compile(r"gRPC API listens.*?grpc://127\.0\.0\.1:(\d+)")
_CALL = re.compile(r"status=(\S+) .*?request_id=(\S+)")
_DRAINS = re.compile(r"gRPC drains .*?calls=(\d+)")
_DECIDE = "/llm.optimizer.routing.RoutingService/Decide"
_FEEDBACK = "/llm.optimizer.feedback.FeedbackService"
_WATCH = "/llm.optimizer.config.ConfigService/WatchConfig"


@dataclass
class Drained:
    """What one drain showed."""

    codes: dict[str, grpc.StatusCode] = field(default_factory=dict)  # of every call, by its request id
    hints: dict[str, bool] = field(default_factory=dict)  # of every subscription: told when to come back
    acknowledged: list[str] = field(default_factory=list)  # ids of events
    refused: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)  # assignment ids
    served: dict[str, str] = field(default_factory=dict)  # what the server's log says of each call
    open_calls: int = 0  # when the drain began
    exit_code: int | None = None
    order: list[str] = field(default_factory=list)
    log_lost: bool = False
    wrong: list[str] = field(default_factory=list)  # answers that say something else than their status

    def faults(self) -> list[str]:
        """What was not exact, in words."""
        found = [f"{name}: served {status}, seen {self.codes[name].name}" for name, status in self.served.items()
                 if name in self.codes and self.codes[name].name != status]  # fmt: skip
        for name, code in self.codes.items():
            served, endless = self.served.get(name), name.startswith("watch")
            if endless and (code is not UNAVAILABLE or served != "UNAVAILABLE" or not self.hints[name]):
                found.append(f"{name}: {code.name}, served {served}, retry hint {self.hints[name]}")
            elif not endless and served not in (None, "OK"):
                found.append(f"{name}: accepted and ended with {served}")
            elif not endless and served is None and code is not UNAVAILABLE:
                found.append(f"{name}: {code.name} without having been served")
            elif name.startswith(("upload", "exchange")) and code is not OK:
                found.append(f"{name}: had been accepted and ended with {code.name}")
        return found + self.wrong + (["the log is not whole"] if self.log_lost else [])


class Load:
    """The calls of one drain. `number` tells its events from those of other drains."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{next(int(m[1]) for line in server.log if (m := _LISTENS.search(line)))}"
        self._channels = [grpc.insecure_channel(address, options=options) for _ in range(CHANNELS)]
        self._server = server
        self._number = number
        self._lock = threading.Lock()
        self._draining = threading.Event()
        self._begun = threading.Semaphore(0)  # every call that stays open has reached the server
        self.seen = Drained()

    def run(self, wait_s: float) -> Drained:
        """Open everything, send SIGTERM after `wait_s`, wait for every call's end and the process's."""
        reading = threading.Thread(target=self._read_log)
        reading.start()
        kinds = [(self._upload, UPLOADS), (self._exchange, EXCHANGES), (self._watch, WATCHES)]
        threads = [threading.Thread(target=act, args=(n,)) for act, count in kinds for n in range(count)]
        workers = [threading.Thread(target=self._keep_calling, args=(kind, channel))
                   for kind in ("decide", "feedback") for channel in range(CHANNELS)]  # fmt: skip
        for thread in [*threads, *workers]:
            thread.start()
        for _ in threads + workers:
            assert self._begun.acquire(timeout=PATIENCE_S), "a call did not begin"
        self._draining.wait(wait_s)
        self._server.process.terminate()
        for thread in [*threads, *workers]:
            thread.join(PATIENCE_S)
        for channel in self._channels:
            channel.close()
        self.seen.exit_code = self._server.process.wait(PATIENCE_S)
        reading.join(PATIENCE_S)
        self._read_calls()
        return self.seen

    def _read_log(self) -> None:
        assert self._server.process.stdout is not None
        with self._server.process.stdout as lines:
            for line in lines:
                self._server.log.append(line.rstrip("\n"))
                if _DRAINS.search(line):
                    self._draining.set()
        self._draining.set()

    def _read_calls(self) -> None:
        log, seen = self._server.log, self.seen
        seen.order = stop_order(log)
        seen.open_calls = next((int(found[1]) for line in log if (found := _DRAINS.search(line))), 0)
        seen.log_lost = any("lines were dropped" in line for line in log)
        for line in log:
            if "] call " in line and (found := _CALL.search(line)):
                seen.served[found[2]] = found[1]

    # Calls

    def _method(self, shape: str, path: str, reply: Any, channel: int) -> Any:
        make = getattr(self._channels[channel % CHANNELS], shape)
        return make(path, lambda message: message.SerializeToString(), reply.FromString)

    def _told(self, name: str) -> dict[str, Any]:
        return {"metadata": [("authorization", f"Bearer {self._server.token}"), ("x-request-id", name)]}

    def _event(self, name: str) -> feedback_pb2.RecordFeedbackRequest:
        event = feedback_pb2.FeedbackEvent(event_id=f"{self._number}-{name}", service="chat", variant="a")
        return feedback_pb2.RecordFeedbackRequest(events=[event])

    def _keep_calling(self, kind: str, channel: int) -> None:
        """Unary calls, always `WINDOW` of them in flight, until the first is refused."""
        if kind == "decide":
            call = self._method("unary_unary", _DECIDE, routing_pb2.Decision, channel)
        else:
            path = f"{_FEEDBACK}/RecordFeedback"
            call = self._method("unary_unary", path, feedback_pb2.RecordFeedbackResponse, channel)
        window: deque[tuple[str, Any]] = deque()
        number, refused = 0, False
        while window or not refused:
            while len(window) < WINDOW and not refused:
                name, number = f"{kind}-{channel}-{number}", number + 1
                request = routing_pb2.DecideRequest(service="chat") if kind == "decide" else self._event(name)
                window.append((name, call.future(request, timeout=PATIENCE_S, **self._told(name))))
            name, future = window.popleft()
            code = future.code()
            refused = refused or code is not OK
            self._note(name, code, [f"{self._number}-{name}"] if kind == "feedback" else [])
            if code is OK and kind == "decide":
                self.seen.decisions.append(future.result().assignment_id)
            elif code is OK:
                self._expect(name, future.result().accepted, 1)
            if number == WINDOW + 1 or (refused and number <= WINDOW):
                self._begun.release()

    def _upload(self, number: int) -> None:
        """A client stream whose end comes after the drain has begun."""
        name = f"upload-{number}"
        call = self._method("stream_unary", f"{_FEEDBACK}/UploadFeedback", feedback_pb2.RecordFeedbackResponse, number)
        ids = [f"{self._number}-{name}-{i}" for i in range(5)]
        future = call.future(self._messages(name, 5), timeout=PATIENCE_S, **self._told(name))
        code = future.code()
        self._note(name, code, ids)
        if code is OK:
            self._expect(name, future.result().accepted, len(ids))

    def _messages(self, name: str, count: int) -> Iterator[feedback_pb2.RecordFeedbackRequest]:
        for i in range(count):
            if i == count - 2:
                self._begun.release()  # what came before has been written to the connection
                self._draining.wait(PATIENCE_S)
            yield self._event(f"{name}-{i}")

    def _exchange(self, number: int) -> None:
        """A stream in both directions: every message is acknowledged, the last ones after the drain has begun."""
        name = f"exchange-{number}"
        call = self._method("stream_stream", f"{_FEEDBACK}/StreamFeedback", feedback_pb2.FeedbackProgress, number)
        stream = call(self._messages(name, 5), timeout=PATIENCE_S, **self._told(name))
        durable = 0
        try:
            for progress in stream:
                durable = progress.durable_messages
        except grpc.RpcError:
            pass  # its code is noted below
        ids = [f"{self._number}-{name}-{i}" for i in range(5)]
        self._note(name, stream.code(), ids[:durable])
        if stream.code() is OK:
            self._expect(name, durable, len(ids))

    def _watch(self, number: int) -> None:
        """A subscription without an end."""
        name = f"watch-{number}"
        call = self._method("unary_stream", _WATCH, config_pb2.ConfigChangeEvent, number)
        stream = call(config_pb2.WatchConfigRequest(), **self._told(name))
        stream.initial_metadata()
        self._begun.release()
        self._note(name, stream.code(), [])
        self.seen.hints[name] = has_retry_info(dict(stream.trailing_metadata() or ()))

    def _note(self, name: str, code: grpc.StatusCode, events: list[str]) -> None:
        with self._lock:
            self.seen.codes[name] = code
            (self.seen.acknowledged if code is OK else self.seen.refused).extend(events)

    def _expect(self, name: str, durable: int, sent: int) -> None:
        if durable != sent:
            self.seen.wrong.append(f"{name}: OK, and {durable} of {sent} events acknowledged")


def has_retry_info(trailers: dict[str, Any]) -> bool:
    """Whether the trailers say when to come back."""
    status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
    return any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)


def count_codes(seen: Drained) -> dict[str, int]:
    """How many calls of each kind ended in each way."""
    return dict(sorted(Counter(f"{name.split('-')[0]} {code.name}" for name, code in seen.codes.items()).items()))


def check_kept(server: ServerProcess, seen: Drained, before: int) -> tuple[list[str], int]:
    """What the restarted server does not know that it acknowledged, or knows that it refused; events in all."""
    faults: list[str] = []
    with server.client() as api:
        for ids, known in ((seen.acknowledged, True), (seen.refused, False)):
            for start in range(0, len(ids), 500):
                part = ids[start : start + 500]
                events = [{"event_id": each, "service": "chat", "variant": "a", "occurred_at": "2026-11-01T00:00:00Z"}
                          for each in part]  # fmt: skip
                receipt = api.post("/api/v1/feedback", json={"events": events}).json()
                if receipt["duplicates" if known else "accepted"] != len(part):
                    faults.append(f"{'acknowledged' if known else 'refused'} events sent again: {receipt}")
        for assignment in seen.decisions[-5:]:
            found = api.get(f"/api/v1/services/chat/explain/{assignment}")
            if found.status_code != 200:
                faults.append(f"a decision is unknown: {found.text}")
        total = before + len(seen.acknowledged) + len(seen.refused)
        give_up = time.monotonic() + PATIENCE_S
        counted = 0
        while counted < total and time.monotonic() < give_up:
            counted = api.get("/api/v1/services/chat/report").json()["totals"]["events"]
        if counted != total:
            faults.append(f"{counted} events are counted, {total} were sent")
    return faults, total
