"""Logging: structlog and the libraries' stdlib logging through one writer that never blocks and never dies.

Lines go through a bounded queue to a thread, so that a full pipe, a slow disk or a closed terminal costs log lines
(counted, and reported when there is room again) and nothing else.
"""

import logging
import os
import queue
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

import structlog

from optimizer.model import InvalidArgument

Level = Literal["trace", "debug", "info", "warn", "error"]
LEVELS: dict[str, int] = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}
NAMES = {5: "trace", 10: "debug", 20: "info", 30: "warn", 40: "error", 50: "error"}
QUEUE_LINES = 10_000  # about 2 MB of typical lines: some seconds of a burst at debug level
FLUSH_S = 1.0


class LineSink(Protocol):
    """Where finished lines go."""

    def write_line(self, line: str) -> None:
        """Take a line, without its end. Must return at once and never raise."""
        ...


class LineWriter:
    """Writes lines to a file descriptor from a thread of its own. A context manager: leaving it flushes for 1 s."""

    def __init__(self, descriptor: int, *, queue_lines: int = QUEUE_LINES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(queue_lines)
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._unreported = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._lines.put(None, timeout=FLUSH_S)
        except queue.Full:
            return  # nobody reads: the thread is a daemon and ends with the process
        self._thread.join(FLUSH_S)

    def write_line(self, line: str) -> None:
        """Queue a line; when the queue is full it is dropped and counted."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            self._unreported += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            lost, self._unreported = self._unreported, 0
            note = f"log: {lost} lines were dropped, the reader was too slow\n" if lost else ""
            data = (note + line + "\n").encode(errors="replace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.dropped += 1  # closed pipe or full disk: the server goes on without its log


class LogControl:
    """The running logging: its level can be changed live."""

    def __init__(self, sink: LineSink, level: str, *, json: bool = True) -> None:
        self.sink = sink
        self.json = json
        self.level = level
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Show this level and above from now on; raises `InvalidArgument` for an unknown one."""
        logging.getLogger().setLevel(to_number(level))
        self.level = level

    def shows(self, level: str) -> bool:
        """Whether lines of that level are shown now."""
        return to_number(level) >= to_number(self.level)

    def write_line(self, line: str) -> None:
        """Write a line that was rendered elsewhere."""
        self.sink.write_line(line)


def to_number(level: str) -> int:
    """The stdlib number of a level; raises `InvalidArgument` naming those that exist."""
    try:
        return LEVELS[level.lower()]
    except KeyError:
        raise InvalidArgument(f"unknown log level {level!r}: one of {', '.join(get_args(Level))}") from None


@contextmanager
def open_logging(level: str, *, json: bool, sink: LineSink, colors: bool = False) -> Iterator[LogControl]:
    """Route structlog and stdlib logging into the sink while the block runs; afterwards everything is as before."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        _add_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    renderer: structlog.typing.Processor
    if json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    handler = _SinkHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root.handlers = [handler]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers are module-level; a cached one would keep the logging of a past run
    )
    try:
        yield LogControl(sink, level, json=json)
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]
        structlog.reset_defaults()


class _SinkHandler(logging.Handler):
    """Hands every formatted record to the sink. A record that cannot be formatted is named, never raised."""

    def __init__(self, sink: LineSink) -> None:
        super().__init__()
        self._sink = sink

    def createLock(self) -> None:  # noqa: N802 - the name is logging's; the sink's queue is the only lock needed
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as exc:  # noqa: BLE001 - a bad log call must never end what it reports on
            line = f"log: a record of {record.name} could not be formatted: {type(exc).__name__}: {exc}"
        self._sink.write_line(line)


def _add_level(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the level in the words of the command line (`warn`, `trace`)."""
    record = event.get("_record")
    number = (
        record.levelno if isinstance(record, logging.LogRecord) else LEVELS.get(_method.replace("warning", "warn"), 40)
    )
    event["level"] = NAMES.get(number, "error" if number > 40 else "info")
    return event


class LineList:
    """A sink that keeps the lines: for tests and for the simulator."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write_line(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    def containing(self, *words: str) -> Sequence[str]:
        """The lines that contain every word."""
        return [line for line in self.lines if all(word in line for word in words)]
