"""The client's name from the certificate of a mutual TLS handshake."""

from typing import Any, cast

import trio


def name_client(stream: "trio.SSLStream[trio.SocketStream]") -> str | None:
    """The name in the SAN of the client's verified certificate: URI (SPIFFE), else DNS, else e-mail; None without."""
    certificate = cast("dict[str, Any] | None", stream.getpeercert())
    if not certificate:
        return None
    names: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    for wanted in ("URI", "DNS", "email"):
        for kind, name in names:
            if kind == wanted:
                return name
    return None
