"""What the gRPC specification says about requests that are odd: each with the status that it names."""

import gzip

import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status as Details
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hyperframe.frame import SettingsFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from optimizer import model
from optimizer.grpc_api.calls import Stream, encode_frame
from optimizer.grpc_api.calls.metadata import decode_binary
from optimizer.grpc_api.transport import Limits
from tests.grpc_api.conftest import Connect
from tests.grpc_api.echo import CHAT, ECHO, HANG, RAISE, Echo
from tests.grpc_api.peer import data, frame_message, text, window

OK, CANCELLED, UNKNOWN, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, INTERNAL = "0", "1", "2", "3", "4", "8", "12", "13"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", UNIMPLEMENTED),  # no message on a unary call
        (text("a") + text("b"), UNIMPLEMENTED),  # two
        (text("hello")[:-1], INTERNAL),  # ends within the message
        (b"\0\0\0", INTERNAL),  # ends within the prefix
        (frame_message(b"\xff\xff\xff"), INTERNAL),  # not a message of this type
        (frame_message(b"", flag=2), INTERNAL),  # unknown flag
        (frame_message(gzip.compress(b""), flag=1), INTERNAL),  # compressed, but the call names no compression
    ],
)
async def test_damaged_requests_get_the_status_that_the_specification_names(
    connect: Connect, body: bytes, status: str
) -> None:
    peer = await connect()
    assert (await peer.call(ECHO, body))["grpc-status"] == status
    assert (await peer.call(ECHO, text("next")))["grpc-status"] == OK


async def test_a_second_message_that_comes_later_is_noticed_too(connect: Connect) -> None:
    peer = await connect()
    stream_id, raw = peer.request(ECHO, text("a"), end=False)
    await peer.send(raw)
    await wait_all_tasks_blocked()
    await peer.send(data(stream_id, text("b"), end=True))
    assert (await peer.answer(stream_id))["grpc-status"] == UNIMPLEMENTED


async def test_messages_may_be_cut_anywhere(connect: Connect) -> None:
    peer = await connect()
    stream_id, raw = peer.request(CHAT, end=False)
    await peer.send(raw)
    body = text("one") + text("") + text("three")
    for start in range(len(body)):
        await peer.send(data(stream_id, body[start : start + 1]))
        await wait_all_tasks_blocked()
    await peer.send(data(stream_id, b"", end=True))
    assert (await peer.answer(stream_id))["grpc-status"] == OK
    assert peer.data[stream_id] == body


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("grpc-timeout", "5S")], OK),
        ([("grpc-timeout", "99999999H")], OK),
        ([("grpc-timeout", "123456789S")], INTERNAL),  # nine digits
        ([("grpc-timeout", "5")], INTERNAL),
        ([("grpc-timeout", "-5S")], INTERNAL),
        ([("grpc-encoding", "identity")], OK),
        ([("grpc-encoding", "zstd")], UNIMPLEMENTED),
    ],
)
async def test_request_fields(connect: Connect, fields: list[tuple[str, str]], status: str) -> None:
    peer = await connect()
    trailers = await peer.call(ECHO, text("x"), fields=fields)
    assert trailers["grpc-status"] == status
    if status == UNIMPLEMENTED:
        assert trailers["grpc-accept-encoding"] == "identity,gzip"


@pytest.mark.parametrize(
    ("method", "kind", "status"), [("GET", None, "405"), ("POST", "text/plain", "415"), ("POST", None, "415")]
)
async def test_what_is_not_grpc_gets_a_plain_http_answer(
    connect: Connect, method: str, kind: str | None, status: str
) -> None:
    peer = await connect()
    fields = [(":method", method), (":scheme", "http"), (":path", ECHO)] + ([("content-type", kind)] if kind else [])
    await peer.send(peer.head(1, fields))
    assert (await peer.answer(1))[":status"] == status
    assert peer.reset(1) is None


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
async def test_content_types_of_grpc(connect: Connect, kind: str) -> None:
    peer = await connect()
    fields = [(":method", "POST"), (":scheme", "http"), (":path", ECHO), ("content-type", kind)]
    await peer.send(peer.head(1, fields, end=False), data(1, text("x"), end=True))
    assert (await peer.answer(1))["grpc-status"] == OK


@pytest.mark.parametrize(
    "fields",
    [
        [(":scheme", "http"), (":path", ECHO)],
        [(":method", "POST"), (":path", ECHO)],
        [(":method", "POST"), (":scheme", "http")],
        [(":method", "POST"), (":scheme", "http"), (":path", "")],
        [(":method", "POST"), (":scheme", "http"), (":path", ECHO), (":status", "200")],
    ],
)
async def test_requests_without_their_pseudo_fields_get_a_stream_error(
    connect: Connect, fields: list[tuple[str, str]]
) -> None:
    peer = await connect()
    await peer.send(peer.head(1, fields))
    await peer.answer(1)
    assert peer.reset(1) == 1
    peer._next = 3
    assert (await peer.call(ECHO, text("x")))["grpc-status"] == OK


async def test_a_compressed_request_is_read_and_a_bomb_is_not(connect: Connect) -> None:
    peer = await connect(limits=Limits(message=100_000))
    fields = [("grpc-encoding", "gzip")]
    packed = frame_message(gzip.compress(text("squeezed")[5:]), flag=1)
    assert (await peer.call(ECHO, packed, fields=fields))["grpc-status"] == OK
    assert peer.data[1] == text("squeezed")
    bomb = frame_message(gzip.compress(bytes(10_000_000)), flag=1)
    assert len(bomb) < 100_000
    assert (await peer.call(ECHO, bomb, fields=fields))["grpc-status"] == EXHAUSTED
    junk = frame_message(b"no gzip at all", flag=1)
    assert (await peer.call(ECHO, junk, fields=fields))["grpc-status"] == INTERNAL
    cut = frame_message(gzip.compress(b"abc" * 100)[:-9], flag=1)
    assert (await peer.call(ECHO, cut, fields=fields))["grpc-status"] == INTERNAL


class Zipped(Echo):
    """Answers compressed when the client reads it."""

    async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
        stream.gzip = True
        await super().echo(stream)


async def test_answers_are_compressed_only_for_clients_that_accept_it(connect: Connect) -> None:
    peer = await connect([Zipped()])
    long = frame_message(b"\x0a\xd0\x0f" + b"z" * 2_000)
    await peer.call(ECHO, long, fields=[("grpc-accept-encoding", "identity, gzip")])
    assert dict(peer.headers[1])["grpc-encoding"] == "gzip"
    assert peer.data[1][0] == 1
    assert gzip.decompress(peer.data[1][5:]) == long[5:]
    await peer.call(ECHO, long)
    assert "grpc-encoding" not in dict(peer.headers[3])
    assert peer.data[3] == long


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (model.NotFound("x"), Status.NOT_FOUND),
        (model.InvalidArgument("x"), Status.INVALID_ARGUMENT),
        (model.AlreadyExists("x"), Status.ALREADY_EXISTS),
        (model.PermissionDenied("x"), Status.PERMISSION_DENIED),
        (model.Unauthenticated("x"), Status.UNAUTHENTICATED),
        (model.ResourceExhausted("x"), Status.RESOURCE_EXHAUSTED),
        (model.FailedPrecondition("x"), Status.FAILED_PRECONDITION),
        (model.ConfigurationError("x"), Status.FAILED_PRECONDITION),
        (model.Conflict("x"), Status.ABORTED),
        (model.Unavailable("x"), Status.UNAVAILABLE),
        (model.StorageUnavailable("x"), Status.UNAVAILABLE),
        (model.StoreCorrupt("x"), Status.DATA_LOSS),
        (GRPCError(Status.OUT_OF_RANGE, "x"), Status.OUT_OF_RANGE),
        (ExceptionGroup("from a nursery", [model.NotFound("x")]), Status.NOT_FOUND),
    ],
)
async def test_expected_errors_become_the_statuses_of_the_contract(
    connect: Connect, error: Exception, status: Status
) -> None:
    peer = await connect([Echo(error)])
    trailers = await peer.call(RAISE, text(""))
    assert (trailers["grpc-status"], trailers["grpc-message"]) == (str(status.value), "x")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("secret"),
        ExceptionGroup("mixed", [model.NotFound("x"), ValueError("secret")]),
        AssertionError("secret"),
    ],
)
async def test_bugs_are_internal_and_say_nothing(connect: Connect, error: Exception) -> None:
    peer = await connect([Echo(error)])
    trailers = await peer.call(RAISE, text(""))
    assert (trailers["grpc-status"], trailers["grpc-message"]) == (INTERNAL, "internal error")
    assert "secret" not in str(peer.headers)
    assert peer.journal.failures == []


async def test_a_unary_handler_that_forgets_its_answer_is_internal(connect: Connect) -> None:
    peer = await connect()
    assert (await peer.call(RAISE, text("")))["grpc-status"] == INTERNAL


async def test_details_are_google_rpc(connect: Connect) -> None:
    peer = await connect([Echo(model.InvalidArgument("too small", field="limit"))])
    trailers = await peer.call(RAISE, text(""))
    details = Details.FromString(decode_binary(trailers["grpc-status-details-bin"].encode()))
    assert (details.code, details.message) == (3, "too small")
    bad = BadRequest()
    assert details.details[0].Unpack(bad)
    assert bad.field_violations[0].field == "limit"


async def test_a_client_is_told_when_to_come_back(connect: Connect) -> None:
    peer = await connect([Echo(model.Unavailable("busy", retry_after_s=2.5))])
    trailers = await peer.call(RAISE, text(""))
    assert trailers["grpc-retry-pushback-ms"] == "2500"
    details = Details.FromString(decode_binary(trailers["grpc-status-details-bin"].encode()))
    retry = RetryInfo()
    assert details.details[0].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2_500


async def test_messages_are_percent_encoded_and_bounded(connect: Connect) -> None:
    peer = await connect([Echo(model.NotFound("größer\n100 % " + "ü" * 5_000))])
    message = (await peer.call(RAISE, text("")))["grpc-message"]
    assert message.startswith("gr%C3%B6%C3%9Fer%0A100 %25 %C3%BC")
    assert message.endswith("%C3%BC...")
    assert len(message) <= 1_024


async def test_a_deadline_cancels_the_handler_and_says_so(connect: Connect, autojump_clock: MockClock) -> None:
    echo = Echo()
    peer = await connect([echo])
    trailers = await peer.call(HANG, text("x"), fields=[("grpc-timeout", "1500m")])
    assert trio.current_time() == pytest.approx(1.5)
    assert trailers["grpc-status"] == DEADLINE
    assert echo.cancelled == 1


async def test_the_deadline_reaches_what_the_handler_calls(connect: Connect, autojump_clock: MockClock) -> None:
    class Asking(Echo):
        left: float | None = None
        effective = 0.0

        async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
            self.left = None if stream.deadline is None else stream.deadline.time_remaining()
            self.effective = trio.current_effective_deadline() - trio.current_time()
            await super().echo(stream)

    asking = Asking()
    peer = await connect([asking])
    await peer.call(ECHO, text("x"), fields=[("grpc-timeout", "20S")])
    assert asking.left == pytest.approx(20)
    assert asking.effective == pytest.approx(20)


async def test_metadata_both_ways(connect: Connect) -> None:
    class Meta(Echo):
        async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
            await stream.recv_message()
            metadata = stream.metadata
            assert metadata.getall("x-many") == ["1", "2"]
            assert metadata["x-raw-bin"] == b"\x00\xff"
            assert "grpc-timeout" not in metadata
            assert "te" not in metadata
            await stream.send_initial_metadata(metadata=[("x-begin", "b"), ("x-begin-bin", b"\x01")])
            await stream.send_message(StringValue(value="m"))
            await stream.send_trailing_metadata(metadata=[("x-end", "e")])

    peer = await connect([Meta()])
    fields = [("x-many", "1"), ("x-many", "2"), ("x-raw-bin", "AP8"), ("grpc-timeout", "1M")]
    got = await peer.call(ECHO, text("x"), fields=fields)
    assert (got["x-begin"], got["x-begin-bin"], got["x-end"], got["grpc-status"]) == ("b", "AQ", "e", OK)


async def test_malformed_binary_metadata_is_internal_for_those_who_read_it(connect: Connect) -> None:
    class Meta(Echo):
        async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
            assert stream.metadata is not None
            await super().echo(stream)

    peer = await connect([Meta()])
    assert (await peer.call(ECHO, text("x"), fields=[("x-bin", "!!!")]))["grpc-status"] == INTERNAL


async def test_frames_that_were_encoded_once_go_out_as_they_are(connect: Connect) -> None:
    class Ready(Echo):
        async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
            await stream.recv_message()
            await stream.send_message(encode_frame(StringValue(value="once")))

    peer = await connect([Ready()])
    assert (await peer.call(ECHO, text("x")))["grpc-status"] == OK
    assert peer.data[1] == text("once")


async def test_cancel_resets_the_stream(connect: Connect) -> None:
    class Quits(Echo):
        async def echo(self, stream: Stream[StringValue, StringValue]) -> None:
            await stream.cancel()

    peer = await connect([Quits()])
    await peer.call(ECHO, text("x"))
    assert peer.reset(1) == 0x8


async def test_handlers_take_turns_even_when_they_never_wait(connect: Connect) -> None:
    """A stream that always has something to send must not keep others from being served."""

    class Endless(Echo):
        async def chat(self, stream: Stream[StringValue, StringValue]) -> None:
            while True:
                await stream.send_message(StringValue(value="x"))

    peer = await connect([Endless()])
    wide = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30}).serialize()
    await peer.send(wide, window(0, 2**30))
    await peer.send(peer.request(CHAT, end=False)[1])
    await peer.wait(lambda: len(peer.data.get(1, b"")) > 1_000)
    assert (await peer.call(ECHO, text("me too")))["grpc-status"] == OK
