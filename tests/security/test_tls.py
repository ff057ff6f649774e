"""TLS contexts: 1.3 only, client certificates enforced, and every broken file named."""

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from optimizer.config import GrpcApi
from optimizer.model import ConfigurationError
from optimizer.security import make_server_context, reload_certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def files(authority: trustme.CA, folder: Path) -> tuple[Path, Path, Path]:
    server = authority.issue_cert("localhost")
    paths = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    server.cert_chain_pems[0].write_to_path(str(paths[0]))
    server.private_key_pem.write_to_path(str(paths[1]))
    authority.cert_pem.write_to_path(str(paths[2]))
    return paths


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Both sides over a memory stream; the version that they agreed on."""
    ours, theirs = trio.testing.memory_stream_pair()
    door = trio.SSLStream(ours, server, server_side=True)
    caller = trio.SSLStream(theirs, client, server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.do_handshake)
        await caller.do_handshake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.send_all, b"x")
        assert await caller.receive_some(1) == b"x"
    version: str | None = caller.version()
    assert caller.selected_alpn_protocol() == "h2"
    return version


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return context


async def test_only_version_one_three(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key, _ = files(authority, tmp_path)
    server = make_server_context(GrpcApi(enable_tls=True, tls_cert_path=cert, tls_key_path=key), "grpc_api", ["h2"])
    assert server is not None
    assert await handshake(server, client_context(authority)) == "TLSv1.3"
    old = client_context(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.RaisesGroup(trio.BrokenResourceError, flatten_subgroups=True, allow_unwrapped=True):
        await handshake(server, old)


async def test_a_client_certificate_is_required_where_set(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key, ca = files(authority, tmp_path)
    settings = GrpcApi(
        enable_tls=True, tls_cert_path=cert, tls_key_path=key, tls_client_ca_path=ca, require_client_cert=True
    )
    server = make_server_context(settings, "grpc_api", ["h2"])
    assert server is not None
    known = client_context(authority)
    authority.issue_cert("client").configure_cert(known)
    assert await handshake(server, known) == "TLSv1.3"
    stranger = client_context(authority)
    trustme.CA().issue_cert("client").configure_cert(stranger)
    for refused in (client_context(authority), stranger):
        with pytest.raises((BaseExceptionGroup, trio.BrokenResourceError)):
            await handshake(server, refused)


def test_no_context_without_tls() -> None:
    assert make_server_context(GrpcApi(), "grpc_api", ["h2"]) is None


def test_broken_files_are_named(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key, _ = files(authority, tmp_path)
    other_key = files(authority, tmp_path_of(tmp_path, "other"))[1]
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    cases = [
        (tmp_path / "none.pem", key, None, r"grpc_api\.tls_cert_path: .*none\.pem cannot be read: No such file"),
        (cert, tmp_path, None, r"grpc_api\.tls_key_path: .* cannot be read: Is a directory"),
        (junk, key, None, r"are no certificate chain"),
        (cert, junk, None, r"are no certificate chain"),
        (cert, other_key, None, r"are no certificate chain with its unencrypted key \(KEY_VALUES_MISMATCH\)"),
        (cert, key, junk, r"grpc_api\.tls_client_ca_path: .*junk\.pem holds no certificates"),
    ]
    for certificate, private, authorities, expected in cases:
        settings = GrpcApi(
            enable_tls=True, tls_cert_path=certificate, tls_key_path=private, tls_client_ca_path=authorities
        )
        with pytest.raises(ConfigurationError, match=expected):
            make_server_context(settings, "grpc_api", ["h2"])


async def test_new_certificates_serve_new_handshakes(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key, _ = files(authority, tmp_path)
    settings = GrpcApi(enable_tls=True, tls_cert_path=cert, tls_key_path=key)
    server = make_server_context(settings, "grpc_api", ["h2"])
    assert server is not None
    successor = trustme.CA()
    files(successor, tmp_path)
    reload_certificates(server, settings, "grpc_api")
    assert await handshake(server, client_context(successor)) == "TLSv1.3"


def tmp_path_of(folder: Path, name: str) -> Path:
    below = folder / name
    below.mkdir()
    return below
