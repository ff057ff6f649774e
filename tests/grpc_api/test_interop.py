"""gRPC's interoperability cases with grpcio's client over real sockets, cleartext and TLS.

The case names are those of grpc/doc/interop-test-descriptions.md.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trio
import trustme

from tests.grpc_api.conftest import open_server
from tests.grpc_api.interop import SERVICE, TestService, messages


class Client:
    """The stubs of the test service over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        m = messages()

        def stub(kind: str, method: str, request: Any, reply: Any) -> Any:
            path = method if method.startswith("/") else SERVICE + method
            return getattr(channel, kind)(
                path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
            )

        self.empty = stub("unary_unary", "EmptyCall", m.Empty, m.Empty)
        self.unary = stub("unary_unary", "UnaryCall", m.SimpleRequest, m.SimpleResponse)
        out, back = m.StreamingOutputCallRequest, m.StreamingOutputCallResponse
        self.output = stub("unary_stream", "StreamingOutputCall", out, back)
        self.input = stub(
            "stream_unary", "StreamingInputCall", m.StreamingInputCallRequest, m.StreamingInputCallResponse
        )
        self.duplex = stub("stream_stream", "FullDuplexCall", out, back)
        self.no_method = stub("unary_unary", "UnimplementedCall", m.Empty, m.Empty)
        self.no_service = stub("unary_unary", "/grpc.testing.UnimplementedService/UnimplementedCall", m.Empty, m.Empty)


def payload(size: int) -> Any:
    return messages().Payload(body=bytes(size))


def simple(request: int, reply: int, **more: Any) -> Any:
    return messages().SimpleRequest(response_size=reply, payload=payload(request), **more)


def asking(*sizes: int, size: int = 0, **more: Any) -> Any:
    wanted = [messages().ResponseParameters(size=each, **more) for each in sizes]
    return messages().StreamingOutputCallRequest(response_parameters=wanted, payload=payload(size))


def yes(value: bool = True) -> Any:
    return messages().BoolValue(value=value)


def empty_unary(client: Client) -> None:
    assert client.empty(messages().Empty()) == messages().Empty()


def large_unary(client: Client) -> None:
    assert len(client.unary(simple(271_828, 314_159)).payload.body) == 314_159


def client_compressed_unary(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.unary(simple(271_828, 314_159, expect_compressed=yes()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = simple(271_828, 314_159, expect_compressed=yes())
    assert len(client.unary(told, compression=grpc.Compression.Gzip).payload.body) == 314_159
    plain = simple(271_828, 314_159, expect_compressed=yes(False))
    assert len(client.unary(plain).payload.body) == 314_159


def server_compressed_unary(client: Client) -> None:
    for compressed in (True, False):
        request = simple(271_828, 314_159, response_compressed=yes(compressed))
        reply, call = client.unary.with_call(request)
        assert len(reply.payload.body) == 314_159
        assert call.code() is grpc.StatusCode.OK


def client_streaming(client: Client) -> None:
    sizes = (27_182, 8, 1_828, 45_904)
    requests = (messages().StreamingInputCallRequest(payload=payload(size)) for size in sizes)
    assert client.input(requests).aggregated_payload_size == 74_922


def client_compressed_streaming(client: Client) -> None:
    def requests() -> Iterator[Any]:
        for size in (27_182, 45_904):
            yield messages().StreamingInputCallRequest(payload=payload(size), expect_compressed=yes())

    assert client.input(requests(), compression=grpc.Compression.Gzip).aggregated_payload_size == 73_086
    with pytest.raises(grpc.RpcError) as caught:
        client.input(requests())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def server_streaming(client: Client) -> None:
    sizes = (31_415, 9, 2_653, 58_979)
    assert [len(reply.payload.body) for reply in client.output(asking(*sizes))] == list(sizes)


def server_compressed_streaming(client: Client) -> None:
    wanted = [
        messages().ResponseParameters(size=31_415, compressed=yes()),
        messages().ResponseParameters(size=92_653, compressed=yes(False)),
    ]
    request = messages().StreamingOutputCallRequest(response_parameters=wanted)
    assert [len(reply.payload.body) for reply in client.output(request)] == [31_415, 92_653]


def ping_pong(client: Client) -> None:
    turn = threading.Semaphore(1)

    def requests() -> Iterator[Any]:
        for size, reply in ((27_182, 31_415), (8, 9), (1_828, 2_653), (45_904, 58_979)):
            turn.acquire()
            yield asking(reply, size=size)

    got = []
    for reply in client.duplex(requests()):
        got.append(len(reply.payload.body))
        turn.release()
    assert got == [31_415, 9, 2_653, 58_979]


def empty_stream(client: Client) -> None:
    assert list(client.duplex(iter(()))) == []


def custom_metadata(client: Client) -> None:
    metadata = (
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
    )
    _, unary = client.unary.with_call(simple(271_828, 314_159), metadata=metadata)
    duplex = client.duplex(iter([asking(314_159, size=271_828)]), metadata=metadata)
    assert len(list(duplex)) == 1
    for call in (unary, duplex):
        assert ("x-grpc-test-echo-initial", "test_initial_metadata_value") in call.initial_metadata()
        assert ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab") in call.trailing_metadata()


def status_code_and_message(client: Client) -> None:
    check_status(client, "test status message")


def special_status_message(client: Client) -> None:
    check_status(client, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")


def check_status(client: Client, text: str) -> None:
    status = messages().EchoStatus(code=2, message=text)
    with pytest.raises(grpc.RpcError) as caught:
        client.unary(messages().SimpleRequest(response_status=status))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, text)
    duplex = client.duplex(iter([messages().StreamingOutputCallRequest(response_status=status)]))
    with pytest.raises(grpc.RpcError):
        list(duplex)
    assert (duplex.code(), duplex.details()) == (grpc.StatusCode.UNKNOWN, text)


def unimplemented_method(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.no_method(messages().Empty())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def unimplemented_service(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.no_service(messages().Empty())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def cancel_after_begin(client: Client) -> None:
    release = threading.Event()

    def requests() -> Iterator[Any]:
        release.wait(10)
        yield from ()

    call = client.input.future(requests())
    call.cancel()
    release.set()
    assert call.cancelled()
    assert call.code() is grpc.StatusCode.CANCELLED


def cancel_after_first_response(client: Client) -> None:
    release = threading.Event()

    def requests() -> Iterator[Any]:
        yield asking(31_415, size=27_182)
        release.wait(10)

    call = client.duplex(requests())
    assert len(next(call).payload.body) == 31_415
    call.cancel()
    release.set()
    with pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.CANCELLED


def timeout_on_sleeping_server(client: Client) -> None:
    call = client.duplex(iter([asking(31_415, interval_us=60_000_000)]), timeout=0.01)
    with pytest.raises(grpc.RpcError):
        list(call)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


CASES: list[Callable[[Client], None]] = [
    empty_unary, large_unary, client_compressed_unary, server_compressed_unary, client_streaming,
    client_compressed_streaming, server_streaming, server_compressed_streaming, ping_pong, empty_stream,
    custom_metadata, status_code_and_message, special_status_message, unimplemented_method, unimplemented_service,
    cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server,
]  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def connect(number: int, authority: trustme.CA | None) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]
    if authority is None:
        return grpc.insecure_channel(f"127.0.0.1:{number}", options=options)
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    return grpc.secure_channel(f"localhost:{number}", credentials, options=options)


def make_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.mark.parametrize("secure", [False, True], ids=["cleartext", "tls"])
async def test_all_18_server_cases(secure: bool, authority: trustme.CA) -> None:
    done: list[str] = []

    def work(number: int) -> None:
        with connect(number, authority if secure else None) as channel:
            client = Client(channel)
            for case in CASES:
                case(client)
                done.append(case.__name__)

    async with open_server([TestService()], tls=make_context(authority) if secure else None) as server:
        await trio.to_thread.run_sync(work, server.number)
    assert len(done) == 18
    assert server.journal.failures == []


async def test_concurrent_large_unary() -> None:
    def work(number: int) -> int:
        with connect(number, None) as channel, ThreadPoolExecutor(32) as pool:
            client = Client(channel)
            replies = pool.map(lambda _: len(client.unary(simple(271_828, 314_159)).payload.body), range(200))
            return sum(size == 314_159 for size in replies)

    async with open_server([TestService()]) as server:
        assert await trio.to_thread.run_sync(work, server.number) == 200


async def test_rpc_soak_short() -> None:
    def work(number: int) -> float:
        with connect(number, None) as channel:
            client = Client(channel)
            began = time.monotonic()
            for _ in range(1_000):
                assert len(client.unary(simple(271, 314)).payload.body) == 314
            return time.monotonic() - began

    async with open_server([TestService()]) as server:
        assert await trio.to_thread.run_sync(work, server.number) > 0
        (connection,) = server.port.connections.values()
        assert (connection.total, len(connection.calls)) == (1_000, 0)
