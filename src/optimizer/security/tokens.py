"""Bearer tokens: JWT with HMAC-SHA256, checked as strictly as RFC 8725 asks.

The signature is PyJWT's work. What it accepts by default and we do not is checked here: no expiry, digit strings as
times, duplicate members, any `typ`, key references in the header, lists of audiences, tokens of any size.
"""

import base64
import hashlib
import json
import math
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import jwt

from optimizer.model import InvalidArgument, Unauthenticated
from optimizer.security.identity import ROLES, Identity, permissions_of

MAX_TOKEN_BYTES = 8 * 1024
MIN_KEY_BYTES = 32  # RFC 7518 section 3.2
MAX_SUBJECT = 256
MAX_ROLES = 32
ALGORITHM = "HS256"
# Verified tokens that need no second HMAC; an application uses one or a few, so this is many applications.
CACHED_TOKENS = 4096
# The header members that we understand. `crit` (RFC 7515 4.1.11) and references to keys are refused, not ignored.
_HEADER = frozenset({"alg", "typ", "kid"})


class Tokens:
    """Issues and verifies tokens of one issuer and audience. `keys`: the first signs, all verify."""

    def __init__(self, keys: Sequence[bytes], *, issuer: str, audience: str = "", leeway_s: float = 5.0) -> None:
        if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
            raise InvalidArgument(f"a signing key has at least {MIN_KEY_BYTES} bytes")
        self._keys = {key_id(key): _prepare(key) for key in keys}
        self._current = key_id(keys[0])
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_s
        self._signatures = jwt.PyJWS(algorithms=[ALGORITHM], options={"enforce_minimum_key_length": True})
        self._verified: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def issue(self, subject: str, roles: Iterable[str], *, now: float, ttl_s: float) -> str:
        """A token for the subject with the roles, valid from `now` (seconds since 1970) for `ttl_s` seconds."""
        granted = sorted(set(roles))
        unknown = [role for role in granted if role not in ROLES]
        if unknown or not granted:
            raise InvalidArgument(f"roles: expected some of {', '.join(ROLES)}, not {', '.join(unknown) or 'none'}")
        if not _is_subject(subject):
            raise InvalidArgument(f"subject: expected 1 to {MAX_SUBJECT} printable characters")
        if not (math.isfinite(ttl_s) and ttl_s >= 1):
            raise InvalidArgument("ttl: expected at least one second")
        claims: dict[str, object] = {"sub": subject, "iat": int(now), "exp": int(now + ttl_s), "iss": self._issuer}
        if self._audience:
            claims["aud"] = self._audience
        claims |= {"roles": granted, "jti": secrets.token_hex(16)}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return self._signatures.encode(payload, self._keys[self._current], ALGORITHM, {"kid": self._current})

    def verify(self, token: str, *, now: float) -> Identity:
        """Who the token speaks for. Raises: `Unauthenticated`; its message tells nothing about keys or contents."""
        known = self._verified.get(token)
        if known is not None:
            identity, expires_at = known
            if now >= expires_at + self._leeway:
                del self._verified[token]
                raise Unauthenticated("the token has expired")
            self._verified.move_to_end(token)
            return identity
        identity, expires_at = self._verify(token, now)
        self._verified[token] = (identity, expires_at)
        if len(self._verified) > CACHED_TOKENS:
            self._verified.popitem(last=False)
        return identity

    def _verify(self, token: str, now: float) -> tuple[Identity, float]:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("the token is too long or not ASCII")
        segments = token.split(".")
        if len(segments) != 3 or not all(segments):
            raise Unauthenticated("the token is malformed")
        kid = self._check_header(_object(segments[0]))
        candidates = [self._keys[kid]] if kid is not None else list(self._keys.values())
        if not any(self._is_signed(token, key) for key in candidates):
            raise Unauthenticated("the token's signature does not hold")
        return self._check_claims(_object(segments[1]), now)

    def _check_header(self, header: dict[str, Any]) -> str | None:
        """The id of the key to verify with, None when any may have signed."""
        if not header.keys() <= _HEADER:
            raise Unauthenticated("the token's header has members that are not understood")
        if header.get("alg") != ALGORITHM:
            raise Unauthenticated(f"the token's algorithm is not {ALGORITHM}")
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.upper() != "JWT":
            raise Unauthenticated("the token's type is not JWT")
        if "kid" not in header:
            return None
        kid = header["kid"]
        if not isinstance(kid, str) or kid not in self._keys:
            raise Unauthenticated("the token's key is not known")
        return kid

    def _is_signed(self, token: str, key: jwt.PyJWK) -> bool:
        try:
            self._signatures.decode_complete(token, key, [ALGORITHM])
        except jwt.InvalidTokenError:
            return False
        return True

    def _check_claims(self, claims: dict[str, Any], now: float) -> tuple[Identity, float]:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _is_subject(subject):
            raise Unauthenticated("the token names no subject")
        if claims.get("iss") != self._issuer:
            raise Unauthenticated("the token's issuer is not accepted")
        if claims.get("aud", "") != self._audience:
            raise Unauthenticated("the token's audience is not accepted")
        issued, expires = _time(claims, "iat"), _time(claims, "exp")
        starts = _time(claims, "nbf") if "nbf" in claims else issued
        if expires <= issued:
            raise Unauthenticated("the token expires before it was issued")
        if now >= expires + self._leeway:
            raise Unauthenticated("the token has expired")
        if max(issued, starts) > now + self._leeway:
            raise Unauthenticated("the token is not valid yet")
        roles = claims.get("roles", [])
        if (
            not isinstance(roles, list)
            or len(roles) > MAX_ROLES
            or not all(isinstance(role, str) and role for role in roles)
        ):
            raise Unauthenticated("the token's roles are malformed")
        known = frozenset(role for role in roles if role in ROLES)
        return Identity(subject, known, permissions_of(known), "token", expires), expires


def key_id(key: bytes) -> str:
    """A name for a key that tells nothing about it, for the `kid` header."""
    return hashlib.blake2b(key, digest_size=8, person=b"kid").hexdigest()


def _prepare(key: bytes) -> jwt.PyJWK:
    encoded = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    return jwt.PyJWK({"kty": "oct", "k": encoded}, ALGORITHM)


def _is_subject(subject: str) -> bool:
    return 0 < len(subject) <= MAX_SUBJECT and subject.isprintable() and bool(subject.strip())


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    # A digit string or a boolean is not a NumericDate (RFC 7519 section 2), whatever its value.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:
        raise Unauthenticated(f"the token's {name} is missing or no time")
    return float(value)


def _object(segment: str) -> dict[str, Any]:
    """A JSON object from base64url, without duplicate members, constants outside JSON, or deep nesting."""
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unauthenticated("the token is malformed") from None
    if not isinstance(value, dict):
        raise Unauthenticated("the token is malformed")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
