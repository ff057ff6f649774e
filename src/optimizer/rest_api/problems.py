"""Errors as RFC 9457 problem details: every failure has a status, a type, a title and a sentence for its reader."""

from dataclasses import dataclass

import orjson
from quart import Response

from optimizer import model

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of failure looks from outside. `type` is a name in our own URN space, stable for clients."""

    status: int
    type: str
    title: str


BAD_REQUEST = Kind(400, "bad_request", "The request cannot be read")
NOT_FOUND = Kind(404, "not_found", "No such thing")
TIMEOUT = Kind(504, "timeout", "The request took too long")
INTERNAL = Kind(500, "internal_error", "The server failed; the request may be tried again")

KINDS: dict[type[Exception], Kind] = {
    model.InvalidArgument: Kind(400, "validation_error", "The request says something that cannot be"),
    model.Unauthenticated: Kind(401, "authentication_error", "No valid credentials"),
    model.PermissionDenied: Kind(403, "authorization_error", "Not allowed"),
    model.NotFound: NOT_FOUND,
    model.AlreadyExists: Kind(409, "conflict", "It exists already"),
    model.Conflict: Kind(409, "conflict", "It changed meanwhile"),
    model.FailedPrecondition: Kind(409, "failed_precondition", "Something else has to happen first"),
    model.ResourceExhausted: Kind(429, "rate_limit_exceeded", "Too much at once"),
    model.StorageUnavailable: Kind(503, "service_unavailable", "Storage cannot take this now"),
    model.Unavailable: Kind(503, "service_unavailable", "A part of the server is away"),
}


def problem(kind: Kind, detail: str, *, retry_after_s: float | None = None, **extra: object) -> Response:
    """The response of a failure."""
    body = {"type": f"urn:llm-optimizer:problem:{kind.type}", "title": kind.title, "status": kind.status}
    response = Response(orjson.dumps({**body, "detail": detail, **extra}), kind.status, content_type=MEDIA_TYPE)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    if kind.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="llm-optimizer"'
    return response


def of_error(error: model.OptimizerError) -> Response:
    """The response of an expected failure."""
    kind = next((KINDS[c] for c in type(error).__mro__ if c in KINDS), INTERNAL)
    extra: dict[str, object] = {}
    if isinstance(error, model.InvalidArgument) and error.field is not None:
        extra["errors"] = [{"field": error.field, "error": str(error)}]
    retry = error.retry_after_s if isinstance(error, model.Unavailable | model.ResourceExhausted) else None
    return problem(kind, str(error), retry_after_s=retry, **extra)
