"""From a request's credentials to an identity: one door for REST and gRPC."""

from optimizer.config import Settings
from optimizer.model import Unauthenticated
from optimizer.security.api_keys import ApiKeys, configured
from optimizer.security.identity import LOCAL, Identity
from optimizer.security.keys import Keys
from optimizer.security.tokens import Tokens


class Authenticator:
    """Checks a bearer token or an API key; exactly one of them has to be there."""

    def __init__(self, tokens: Tokens, api_keys: ApiKeys, *, enabled: bool = True) -> None:
        self.tokens = tokens
        self.api_keys = api_keys
        self._enabled = enabled

    def authenticate(self, authorization: str | None, api_key: str | None, *, now: float) -> Identity:
        """Who calls, from the `authorization` and `x-api-key` headers. `now` is in seconds since 1970.

        Raises: `Unauthenticated`. With authentication off everybody is the local administrator.
        """
        if not self._enabled:
            return LOCAL
        if authorization is None and api_key is None:
            raise Unauthenticated("a bearer token or an API key is needed")
        if authorization is not None and api_key is not None:
            # Two identities in one request: which one counts must not depend on the reader.
            raise Unauthenticated("send either a bearer token or an API key")
        if api_key is not None:
            return self.api_keys.verify(api_key, now=now)
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("the authorization scheme is not Bearer")
        return self.tokens.verify(token.strip(" "), now=now)


def make_tokens(settings: Settings, keys: Keys) -> Tokens:
    """The tokens that the settings describe."""
    security = settings.security
    return Tokens(keys.jwt, issuer=security.jwt_issuer, audience=security.jwt_audience, leeway_s=security.jwt_leeway_s)


def make_authenticator(settings: Settings, keys: Keys) -> Authenticator:
    """The door that the settings describe, with the API keys that they contain."""
    known = [configured(each.name, each.key.get_secret_value(), each.roles) for each in settings.security.api_keys]
    return Authenticator(make_tokens(settings, keys), ApiKeys(known), enabled=settings.security.auth_enabled)
