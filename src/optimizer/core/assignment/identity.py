"""Assignment ids: self-describing and authenticated, so that decisions need no write and feedback no look-up.

An id is base64url (without padding) of a 12-byte MAC and a MessagePack array: format, service, policy version,
segment, variant index, reason, decided-at in milliseconds, 8-byte nonce. The MAC is keyed BLAKE2b (RFC 7693) over the
array. Anybody may read an id; only a holder of the key can make one. Segments longer than 128 bytes stand as their
digest, by the rule of `optimizer.core.segments`.
"""

import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from optimizer.core.segments import bounded
from optimizer.model import InvalidArgument, Reason

MAX_ID_LENGTH = 512
_MAC_BYTES = 12
_NONCE_BYTES = 8


class AssignmentRef(msgspec.Struct, frozen=True, array_like=True):
    """What an assignment id says. `variant` is the index in the service's declaration at that policy version."""

    format: Literal[1]
    service: str
    policy_version: int
    segment: str
    variant: int
    reason: Reason
    decided_at: int
    nonce: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AssignmentRef).decode


def encode(
    key: bytes,
    *,
    service: str,
    policy_version: int,
    segment: str,
    variant: int,
    reason: Reason,
    decided_at: int,
    nonce: bytes,
) -> str:
    """The id of a choice: at most 512 characters of the base64url alphabet.

    `key` is 16 to 64 secret bytes, `decided_at` integer milliseconds since 1970 UTC, `nonce` 8 bytes that make the id
    unique. Raises `InvalidArgument` for a service name that leaves no room.
    """
    if len(nonce) != _NONCE_BYTES or not 16 <= len(key) <= 64:
        raise ValueError("an assignment id needs a key of 16 to 64 bytes and a nonce of 8")
    try:
        body = _encode(AssignmentRef(1, service, policy_version, bounded(segment), variant, reason, decided_at, nonce))
    except UnicodeEncodeError as error:
        raise InvalidArgument("service and segment must be valid Unicode", field="context") from error
    text = urlsafe_b64encode(_mac(key, body) + body).rstrip(b"=").decode("ascii")
    if len(text) > MAX_ID_LENGTH:
        raise InvalidArgument("the service name is too long for an assignment id", field="service")
    return text


def parse(assignment_id: str) -> AssignmentRef:
    """What the id says, unproved: for ids that were verified when they came in. Raises `InvalidArgument`."""
    return _read(_raw(assignment_id))


def verify(keys: Sequence[bytes], assignment_id: str) -> AssignmentRef:
    """What the id says, after its MAC proved that a holder of one of the `keys` wrote it. Raises `InvalidArgument`."""
    raw = _raw(assignment_id)
    if not any(hmac.compare_digest(_mac(key, raw[_MAC_BYTES:]), raw[:_MAC_BYTES]) for key in keys):
        raise InvalidArgument("the assignment id was not issued by this server", field="assignment_id")
    return _read(raw)


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_MAC_BYTES, person=b"assignment-id").digest()


def _raw(assignment_id: str) -> bytes:
    if not 0 < len(assignment_id) <= MAX_ID_LENGTH:
        raise InvalidArgument(f"an assignment id has 1 to {MAX_ID_LENGTH} characters", field="assignment_id")
    try:
        raw = b64decode(assignment_id + "=" * (-len(assignment_id) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidArgument("the assignment id is not base64url", field="assignment_id") from error
    # One text per id: the unused bits at the end must be zero, or two texts would name one assignment.
    if urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != assignment_id:
        raise InvalidArgument("the assignment id is not canonical base64url", field="assignment_id")
    return raw


def _read(raw: bytes) -> AssignmentRef:
    try:
        ref = _decode(raw[_MAC_BYTES:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument("the assignment id is malformed", field="assignment_id") from error
    if len(ref.nonce) != _NONCE_BYTES or ref.variant < 0 or ref.policy_version < 0:
        raise InvalidArgument("the assignment id is malformed", field="assignment_id")
    return ref
