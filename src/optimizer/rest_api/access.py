"""Who may call which route: each names what it needs, or that it is public; one without a rule cannot be served."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Protocol

from quart import Response, g, request
from quart_trio import QuartTrio

from optimizer.security import Identity, Permission, require

RULE = "_needs"
Handler = Callable[..., Awaitable[Response]]


class Authenticate(Protocol):
    """Finds the identity behind a request's headers; `now` is seconds since 1970. Raises Unauthenticated."""

    def __call__(self, authorization: str | None, api_key: str | None, *, now: float) -> Identity: ...


class Access:
    """Authentication and authorisation of routes."""

    def __init__(self, authenticate: Authenticate, now: Callable[[], float]) -> None:
        self._authenticate = authenticate
        self._now = now

    def needs(self, permission: Permission) -> Callable[[Handler], Handler]:
        """The route needs the permission."""

        def guard(handler: Handler) -> Handler:
            @wraps(handler)
            async def guarded(*args: object, **kwargs: object) -> Response:
                headers = request.headers
                found = self._authenticate(headers.get("authorization"), headers.get("x-api-key"), now=self._now())
                require(found, permission)
                g.identity = found
                return await handler(*args, **kwargs)

            setattr(guarded, RULE, (permission,))
            return guarded

        return guard

    def check_complete(self, app: QuartTrio) -> None:
        """Raise RuntimeError when a route has no rule: deny by default, found at start."""
        bare = sorted(name for name, view in app.view_functions.items() if getattr(view, RULE, None) is None)
        if bare:
            raise RuntimeError(f"routes without an access rule: {bare}")


def public(handler: Handler) -> Handler:
    """The route is open to everybody."""
    setattr(handler, RULE, ())
    return handler
