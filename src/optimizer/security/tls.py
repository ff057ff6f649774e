"""TLS contexts of the listening ports: version 1.3 only, client certificates where they are asked for."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from optimizer.config import TlsPort
from optimizer.model import ConfigurationError


def make_server_context(settings: TlsPort, section: str, alpn: Sequence[str]) -> ssl.SSLContext | None:
    """The context for one port, None when its TLS is off. `alpn` are the protocols offered, best first.

    Certificates are read now; `reload_certificates` reads them again for new handshakes.
    Raises: `ConfigurationError` that names the key and the file.
    """
    if not settings.enable_tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(alpn))
    reload_certificates(context, settings, section)
    if settings.tls_client_ca_path is not None:
        _load_authorities(context, settings.tls_client_ca_path, section)
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_cert else ssl.CERT_OPTIONAL
    return context


def reload_certificates(context: ssl.SSLContext, settings: TlsPort, section: str) -> None:
    """Use the certificate and key as they are in their files now. Raises: `ConfigurationError`; the old ones stay."""
    certificate, key = settings.tls_cert_path, settings.tls_key_path
    if certificate is None or key is None:
        raise ConfigurationError(f"{section}: enable_tls needs tls_cert_path and tls_key_path")
    for name, path in (("tls_cert_path", certificate), ("tls_key_path", key)):
        _require_readable(path, f"{section}.{name}")
    try:
        # A key behind a pass phrase would stop the start with a prompt; the empty answer makes it an error instead.
        context.load_cert_chain(certificate, key, password=b"")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ConfigurationError(
            f"{section}: tls_cert_path {certificate} and tls_key_path {key} are no certificate chain "
            f"with its unencrypted key ({reason})"
        ) from error


def _load_authorities(context: ssl.SSLContext, path: Path, section: str) -> None:
    _require_readable(path, f"{section}.tls_client_ca_path")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{section}.tls_client_ca_path: {path} holds no certificates") from error


def _require_readable(path: Path, key: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {error.strerror or error}") from error
