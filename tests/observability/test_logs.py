"""Logging: both flavours in one format, levels changed live, an output that can neither block nor end the server."""

import json
import logging
import os

import pytest
import structlog

from optimizer.model import InvalidArgument
from optimizer.observability import LineList, LineWriter, open_logging

log = structlog.stdlib.get_logger("optimizer.test")


def test_json_lines_from_structlog_and_from_libraries() -> None:
    lines = LineList()
    with open_logging("info", json=True, sink=lines):
        log.info("decided", service="chat", probability=0.25)
        logging.getLogger("hypercorn.error").warning("slow %s", "peer")
    ours, theirs = (json.loads(line) for line in lines.lines)
    assert (ours["event"], ours["level"], ours["service"], ours["probability"]) == ("decided", "info", "chat", 0.25)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("slow peer", "warn", "hypercorn.error")
    assert ours["timestamp"].endswith("Z")


def test_pretty_lines_carry_event_and_values() -> None:
    lines = LineList()
    with open_logging("debug", json=False, sink=lines):
        log.debug("folded", offset=17)
    assert "folded" in lines.lines[0]
    assert "offset=17" in lines.lines[0]


@pytest.mark.parametrize("as_json", [True, False])
def test_errors_come_with_their_traceback(as_json: bool) -> None:
    lines = LineList()
    with open_logging("info", json=as_json, sink=lines):
        try:
            raise ValueError("bad number")
        except ValueError:
            log.exception("failed")
    assert "ValueError: bad number" in "\n".join(lines.lines)


def test_the_level_changes_live() -> None:
    lines = LineList()
    with open_logging("info", json=True, sink=lines) as control:
        log.debug("one")
        control.set_level("debug")
        log.debug("two")
        control.set_level("error")
        log.warning("three")
        logging.getLogger("library").warning("four")
        assert control.level == "error"
    assert [json.loads(line)["event"] for line in lines.lines] == ["two"]


def test_an_unknown_level_names_those_that_exist() -> None:
    with open_logging("info", json=True, sink=LineList()) as control, pytest.raises(InvalidArgument, match="trace"):
        control.set_level("loud")


def test_a_record_that_cannot_be_formatted_is_named_and_not_raised() -> None:
    lines = LineList()
    with open_logging("info", json=True, sink=lines):
        logging.getLogger("library").info("%d items", "many")
    assert "could not be formatted" in lines.lines[0]


def test_everything_is_as_before_afterwards() -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    with open_logging("debug", json=True, sink=LineList()):
        pass
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_lines_reach_the_descriptor_in_order() -> None:
    reading, writing = os.pipe()
    with LineWriter(writing) as writer:
        for number in range(1000):
            writer.write_line(f"line {number}")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read().splitlines() == [f"line {number}" for number in range(1000)]
    assert writer.dropped == 0


def test_a_full_pipe_drops_lines_and_says_so_when_there_is_room() -> None:
    reading, writing = os.pipe()
    with LineWriter(writing, queue_lines=10) as writer:
        for _ in range(2000):  # 64 KiB of pipe, then ten lines of queue
            writer.write_line("x" * 1000)
        assert writer.dropped > 1000
        received = b""
        while b"dropped" not in received:
            received += os.read(reading, 65536)
            writer.write_line("after")
    os.close(writing)
    os.close(reading)


def test_a_closed_pipe_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with LineWriter(writing) as writer:
        writer.write_line("nobody reads this")
    os.close(writing)
    assert writer.dropped == 1


def test_leaving_does_not_wait_for_a_reader_that_never_comes() -> None:
    reading, writing = os.pipe()
    with LineWriter(writing, queue_lines=5) as writer:
        for _ in range(500):
            writer.write_line("x" * 1000)
    assert writer.dropped > 0
    os.close(reading)  # frees the writing thread
    writer._thread.join(5)
    assert not writer._thread.is_alive()
    os.close(writing)
