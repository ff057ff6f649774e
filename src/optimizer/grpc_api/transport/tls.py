"""TLS 1.3 for the gRPC port: contexts, reload for new handshakes, and the client's name from its certificate."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import trio

from optimizer.model import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the certificates are. `client_ca` with `clients="required"` is mutual TLS."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    clients: Literal["none", "optional", "required"] = "none"


class TlsIdentity:
    """The context that new handshakes use; `reload` replaces it, open connections keep theirs.

    Raises:
        ConfigurationError: a file is missing, unreadable or does not fit the others.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = _load(files)

    def reload(self) -> None:
        """Read the files again; when they are bad the old context stays and ConfigurationError says why."""
        self.context = _load(self._files)


def _load(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    if files.clients != "none" and files.client_ca is None:
        raise ConfigurationError("mutual TLS needs the certificate of the authority that signs clients (ca_cert_path)")
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"TLS files {files.certificate}, {files.key}, {files.client_ca}: {error}") from error
    if files.clients == "required":
        context.verify_mode = ssl.CERT_REQUIRED
    elif files.clients == "optional":
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def name_client(stream: "trio.SSLStream[trio.SocketStream]") -> str | None:
    """The client's name from the SAN of its verified certificate: URI (SPIFFE), else DNS, else e-mail."""
    certificate = cast("dict[str, Any] | None", stream.getpeercert())
    if not certificate:
        return None
    names: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    for wanted in ("URI", "DNS", "email"):
        for kind, name in names:
            if kind == wanted:
                return name
    return None
