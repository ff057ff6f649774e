"""Who calls, how often, and whether they may: every method has a rule, or the server does not start."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from optimizer.grpc_api.calls.routes import Handle, Route
from optimizer.grpc_api.calls.stream import Stream
from optimizer.grpc_api.interceptors.admission import Limiter, charge
from optimizer.model import ConfigurationError, Unauthenticated
from optimizer.security import Identity, Permission, require

PUBLIC: Final = None  # the rule of a method that everybody may call
Rules = Mapping[str, Permission | None]


class Authenticate(Protocol):
    """Finds the identity behind credentials, as `security.Authenticator.authenticate` does.

    `now` is in seconds since 1970. Raises Unauthenticated.
    """

    def __call__(self, authorization: str | None, api_key: str | None, *, now: float) -> Identity: ...


class Authentication:
    """Identifies callers of methods that are not public, and charges each call to its caller's rate.

    The rate is counted per identity, or for all together when `per_user` is off. Calls whose credentials do not hold
    are counted by the peer's address: guessing is as limited as calling.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        rules: Rules,
        *,
        clock: Callable[[], float],
        limiter: Callable[[], Limiter] | None = None,
        per_user: Callable[[], bool] = lambda: True,
    ) -> None:
        self._authenticate = authenticate
        self._rules = rules
        self._clock = clock
        self._limiter = limiter
        self._per_user = per_user

    def wrap(self, route: Route, handle: Handle) -> Handle:
        if self._rules.get(route.path, PUBLIC) is PUBLIC:
            return handle
        authenticate, clock, limiter, per_user = self._authenticate, self._clock, self._limiter, self._per_user

        async def identified(stream: Stream[Any, Any]) -> None:
            token, key = stream.fields.get("authorization"), stream.fields.get("x-api-key")
            try:
                stream.user = user = authenticate(
                    None if token is None else token.decode("latin-1"),
                    None if key is None else key.decode("latin-1"),
                    now=clock(),
                )
            except Unauthenticated:
                if limiter is not None:
                    charge(limiter(), ("address", stream.peer.address), stream.admitted_at)
                raise
            if limiter is not None:
                charge(limiter(), user.subject if per_user() else "everybody", stream.admitted_at)
            await handle(stream)

        return identified


class Authorization:
    """Lets those through who hold the permission that the method's rule names; no rule, no service."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def check_complete(self, routes: Iterable[Route]) -> None:
        """Raises ConfigurationError that names every method without a rule, and every rule without a method."""
        paths = {route.path for route in routes}
        bare, idle = sorted(paths - self._rules.keys()), sorted(self._rules.keys() - paths)
        if bare or idle:
            raise ConfigurationError(f"methods without an access rule: {bare}; rules without a method: {idle}")

    def wrap(self, route: Route, handle: Handle) -> Handle:
        if route.path not in self._rules:
            raise ConfigurationError(f"{route.path} has no access rule")
        needed = self._rules[route.path]
        if needed is PUBLIC:
            return handle
        permission: Permission = needed

        async def authorized(stream: Stream[Any, Any]) -> None:
            if stream.user is None:  # authentication was left out of the chain
                raise Unauthenticated("credentials are needed")
            require(stream.user, permission)
            await handle(stream)

        return authorized
