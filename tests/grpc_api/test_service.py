"""The service as the tree runs it: health, reflection, TLS, drain; with grpcio's client over real sockets."""

import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import trio
import trustme
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from grpclib.const import Cardinality, Handler
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1 import reflection_pb2 as v1
from grpclib.reflection.v1alpha import reflection_pb2 as v1alpha

from optimizer.bus import Latest
from optimizer.grpc_api.calls import Stream
from optimizer.grpc_api.health import CHECK, WATCH
from optimizer.grpc_api.interceptors import PUBLIC
from optimizer.grpc_api.service import Policy, Telling, run
from optimizer.grpc_api.transport import Limits
from optimizer.observability import make_metrics
from optimizer.security import LOCAL
from tests.grpc_api.echo import CHAT, COUNT, ECHO, HANG, RAISE, SUM, Echo

SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
RULES = dict.fromkeys([ECHO, COUNT, SUM, CHAT, HANG, RAISE], PUBLIC)


class Running:
    """The service, and what the tree tells it."""

    def __init__(self) -> None:
        self.up = True
        self.changes: Latest[int] = Latest(0)
        self.leave = trio.Event()
        self.target = ""
        self.ended = trio.Event()
        self.metrics = make_metrics()

    def say(self, up: bool) -> None:
        self.up = up
        self.changes.set(self.changes.get() + 1)


@asynccontextmanager
async def open_service(
    echo: Any, *, tls: ssl.SSLContext | None = None, reflection: bool = False, grace_s: float = 5.0, rules: Any = RULES
) -> AsyncIterator[Running]:
    """The service on a free port of the loopback interface."""
    running = Running()
    policy = Policy(
        authenticate=lambda authorization, api_key, *, now: LOCAL,
        rules=rules,
        clock=time.time,
        limits=Limits(connections_per_ip=300, streams=300),
        reflection=reflection,
    )

    def bound(url: str) -> None:
        running.target = url.partition("//")[2]

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await run(
            [echo],
            policy,
            Telling(metrics=running.metrics),
            host="127.0.0.1",
            port=0,
            tls=tls,
            ready=lambda: running.up,
            changes=running.changes,
            leave=running.leave.wait,
            grace_s=grace_s,
            bound=bound,
            task_status=task_status,
        )
        running.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield running
        nursery.cancel_scope.cancel()


def channel(target: str) -> grpc.Channel:
    return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])


def stub(on: grpc.Channel, path: str) -> Any:
    return on.unary_unary(
        path, request_serializer=StringValue.SerializeToString, response_deserializer=StringValue.FromString
    )


def health(on: grpc.Channel, path: str) -> Any:
    """grpcio's own messages of this package would clash with grpclib's in one process; the wire is the same."""
    return (on.unary_stream if path == WATCH else on.unary_unary)(
        path,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


async def work(function: Callable[..., Any], *args: Any) -> Any:
    return await trio.to_thread.run_sync(function, *args)


async def test_health_check_and_watch() -> None:
    told: list[int] = []
    seen = threading.Semaphore(0)

    def watch(target: str, service: str) -> None:
        with channel(target) as on:
            try:
                for reply in health(on, WATCH)(HealthCheckRequest(service=service)):
                    told.append(reply.status)
                    seen.release()
            except grpc.RpcError:
                return

    def check(target: str, service: str) -> Any:
        with channel(target) as on:
            try:
                return health(on, CHECK)(HealthCheckRequest(service=service)).status
            except grpc.RpcError as error:
                return error.code()

    def await_told() -> bool:
        return seen.acquire(timeout=10)

    async with open_service(Echo()) as running, trio.open_nursery() as nursery:
        assert await work(check, running.target, "") == SERVING
        assert await work(check, running.target, "test.Echo") == SERVING
        assert await work(check, running.target, "nobody") is grpc.StatusCode.NOT_FOUND
        nursery.start_soon(work, watch, running.target, "test.Echo")
        assert await work(await_told)
        running.say(False)
        assert await work(await_told)
        assert await work(check, running.target, "") == NOT_SERVING
        running.say(True)
        assert await work(await_told)
        running.leave.set()
        assert await work(await_told)
        await running.ended.wait()
    assert told == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]


async def test_watching_an_unknown_service_stays_open() -> None:
    def watch(target: str) -> int:
        with channel(target) as on:
            call = health(on, WATCH)(HealthCheckRequest(service="nobody"))
            first = next(call)
            assert call.is_active()
            call.cancel()
            return int(first.status)

    async with open_service(Echo()) as running:
        assert await work(watch, running.target) == UNKNOWN


async def test_reflection_is_off_unless_asked_for() -> None:
    def services(target: str, version: str, pb: Any) -> Any:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        request = pb.ServerReflectionRequest(list_services="*")
        with channel(target) as on:
            ask = on.stream_stream(
                path,
                request_serializer=pb.ServerReflectionRequest.SerializeToString,
                response_deserializer=pb.ServerReflectionResponse.FromString,
            )
            try:
                (reply,) = ask(iter([request]))
            except grpc.RpcError as error:
                return error.code()
        return sorted(service.name for service in reply.list_services_response.service)

    for version, pb in (("v1", v1), ("v1alpha", v1alpha)):
        async with open_service(Echo()) as running:
            assert await work(services, running.target, version, pb) is grpc.StatusCode.UNIMPLEMENTED
        async with open_service(Echo(), reflection=True) as running:
            assert await work(services, running.target, version, pb) == ["grpc.health.v1.Health", "test.Echo"]


async def test_a_drain_under_load_loses_no_accepted_call() -> None:
    """200 calls in flight, unary and streams: every one of them finishes."""

    class Slow(Echo):
        arrived = 0

        async def hang(self, stream: Stream[StringValue, StringValue]) -> None:
            self.arrived += 1
            await super().hang(stream)

        async def chat(self, stream: Stream[StringValue, StringValue]) -> None:
            self.arrived += 1
            await self.release.wait()
            await super().chat(stream)

    slow = Slow()
    results: list[str] = []
    lock = threading.Lock()

    def load(target: str) -> None:
        channels = [channel(target) for _ in range(4)]
        message = StringValue(value="x")
        calls: list[Any] = []
        for number in range(200):
            on = channels[number % 4]
            if number % 2:
                calls.append(stub(on, HANG).future(message))
            else:
                chat = on.stream_unary(
                    CHAT,
                    request_serializer=StringValue.SerializeToString,
                    response_deserializer=StringValue.FromString,
                )
                calls.append(chat.future(iter([message])))
        for call in calls:
            code = call.code()
            with lock:
                results.append(code.name)
        for on in channels:
            on.close()

    async with open_service(slow) as running, trio.open_nursery() as nursery:
        nursery.start_soon(work, load, running.target)
        while slow.arrived < 200:
            await trio.lowlevel.checkpoint()
        running.leave.set()
        await trio.testing.wait_all_tasks_blocked()
        slow.release.set()
        await running.ended.wait()
    assert results == ["OK"] * 200


async def test_calls_that_outlive_the_grace_get_unavailable_and_the_service_ends() -> None:
    def call(target: str) -> Any:
        with channel(target) as on:
            try:
                stub(on, HANG)(StringValue(value="x"))
            except grpc.RpcError as error:
                trailers: Any = error.trailing_metadata()
                return error.code(), ("grpc-retry-pushback-ms", "1000") in trailers
            return None

    echo = Echo()
    got: list[Any] = []

    async def caller(target: str) -> None:
        got.append(await work(call, target))

    async with open_service(echo, grace_s=0.2) as running, trio.open_nursery() as nursery:
        nursery.start_soon(caller, running.target)
        while not echo.hanging:
            await trio.lowlevel.checkpoint()
        running.leave.set()
        await running.ended.wait()
    assert got == [(grpc.StatusCode.UNAVAILABLE, True)]


class WhoCalls:
    """Answers with the name in the client's certificate."""

    async def who(self, stream: Stream[StringValue, StringValue]) -> None:
        await stream.recv_message()
        await stream.send_message(StringValue(value=stream.peer.identity or "nobody"))

    def __mapping__(self) -> dict[str, Handler]:
        return {"/test.Who/Calls": Handler(self.who, Cardinality.UNARY_UNARY, StringValue, StringValue)}


@pytest.mark.parametrize("required", [True, False])
async def test_mutual_tls_names_the_client(required: bool) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

    def ask(target: str, certificate: trustme.LeafCert | None) -> str:
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(),
            None if certificate is None else certificate.private_key_pem.bytes(),
            None if certificate is None else certificate.cert_chain_pems[0].bytes(),
        )
        address = target.replace("127.0.0.1", "localhost")
        with grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as on:
            try:
                return str(stub(on, "/test.Who/Calls")(StringValue(), timeout=10).value)
            except grpc.RpcError as error:
                return str(error.code().name)

    async with open_service(WhoCalls(), tls=context, rules={"/test.Who/Calls": PUBLIC}) as running:
        known = await work(ask, running.target, authority.issue_cert("client.example"))
        assert known == "client.example"
        unknown = await work(ask, running.target, stranger.issue_cert("client.example"))
        assert unknown == "UNAVAILABLE"
        without = await work(ask, running.target, None)
        assert without == ("UNAVAILABLE" if required else "nobody")


async def test_certificates_reload_for_new_handshakes_and_old_connections_stay() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost", common_name="old").configure_cert(context)
    trust = ssl.create_default_context()
    trust.set_alpn_protocols(["h2"])
    authority.configure_trust(trust)

    async def peer_name(target: str) -> tuple[Any, str]:
        tcp = await trio.open_tcp_stream("127.0.0.1", int(target.rpartition(":")[2]))
        stream = trio.SSLStream(tcp, trust, server_hostname="localhost")
        await stream.do_handshake()
        subject = dict(pair[0] for pair in stream.getpeercert()["subject"])
        assert stream.selected_alpn_protocol() == "h2"
        assert stream.version() == "TLSv1.3"
        return stream, subject["commonName"]

    async with open_service(Echo(), tls=context) as running:
        first, name = await peer_name(running.target)
        assert name == "old"
        authority.issue_cert("localhost", common_name="new").configure_cert(context)
        second, name = await peer_name(running.target)
        assert name == "new"
        assert await first.receive_some(9)  # the first frame of the server still comes over the old connection
        await trio.aclose_forcefully(first)
        await trio.aclose_forcefully(second)


async def test_a_silent_tls_peer_is_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    ours, theirs = trio.testing.memory_stream_pair()
    from optimizer.grpc_api.transport.listener import secure

    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await secure(theirs, context, 10.0)
    assert trio.current_time() - began == pytest.approx(10.0)
    await trio.aclose_forcefully(ours)


def test_streams_to_many_subscribers_share_their_encoding() -> None:
    from optimizer.grpc_api.calls import Frame, encode_frame

    frame = encode_frame(Int64Value(value=7))
    assert isinstance(frame, Frame)
    assert bytes(frame) == b"\0\0\0\0\2\x08\7"
