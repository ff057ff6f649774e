"""What the log holds: the kinds of record and their encodings.

The state of the server is a function of these records alone, so everything that changes a decision is one of them: what
was reported, what was declared, which policy was adopted, which choices were handed out.
"""

import hashlib

import msgspec

from optimizer.core.rollout import Command, RolloutSpec
from optimizer.model import FeedbackEvent, MetricSample, Policy, Score, Service

FEEDBACK = "f"
SCORE = "s"
SERVICE = "v"
POLICY = "p"
EXPOSURES = "x"
METRIC = "m"
ROLLOUT = "r"


class Exposure(msgspec.Struct, frozen=True, array_like=True):
    """One handed-out choice. The assignment id says service, policy version, segment, variant and time."""

    assignment_id: str
    request_id: str | None = None
    key: str | None = None


class Exposures(msgspec.Struct, frozen=True, array_like=True):
    """A batch of choices of one service."""

    service: str
    items: tuple[Exposure, ...]


class Declared(msgspec.Struct, frozen=True, array_like=True):
    """A service as declared, or None for `service` when it was withdrawn.

    `observed`: telemetry came from a service that was not known; without effect when it is declared by then.
    """

    name: str
    at: int
    service: Service | None
    observed: bool = False


class RolloutStarted(msgspec.Struct, frozen=True, tag="started"):
    """A rollout was asked for. The fold refuses it when the service has one under way by then."""

    rollout_id: str
    spec: RolloutSpec
    salt: str
    at: int
    actor: str
    most: int


class RolloutCommand(msgspec.Struct, frozen=True, tag="command"):
    """Somebody asked something of a rollout. The fold passes over what the status does not allow by then."""

    rollout_id: str
    command: Command


class RolloutTick(msgspec.Struct, frozen=True, tag="tick"):
    """Time alone moves a rollout on: a stage has had its time, or the whole its timeout."""

    rollout_id: str
    now: int


RolloutRecord = RolloutStarted | RolloutCommand | RolloutTick
Payload = RolloutRecord | FeedbackEvent | Score | MetricSample | Declared | Policy | Exposures

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_feedback = msgspec.msgpack.Decoder(FeedbackEvent)
_score = msgspec.msgpack.Decoder(Score)
_metric = msgspec.msgpack.Decoder(MetricSample)
_declared = msgspec.msgpack.Decoder(Declared)
_policy = msgspec.msgpack.Decoder(Policy)
_exposures = msgspec.msgpack.Decoder(Exposures)

_rollout = msgspec.msgpack.Decoder(RolloutRecord)

decode_feedback = _feedback.decode
decode_score = _score.decode
decode_metric = _metric.decode
decode_declared = _declared.decode
decode_policy = _policy.decode
decode_exposures = _exposures.decode
decode_rollout = _rollout.decode


def encode(payload: Payload) -> bytes:
    """The record's bytes; the same value always gives the same bytes."""
    return _encoder.encode(payload)


def idempotency_key(kind: str, scope: str, identity: str) -> bytes:
    """16 bytes that stand for (kind, scope, identity) in the log's duplicate index.

    blake2b with 128 bits: among 10^12 events the chance of any collision is about 10^-15.
    """
    digest = hashlib.blake2b(digest_size=16, person=kind.encode())
    digest.update(scope.encode())
    digest.update(b"\0")
    digest.update(identity.encode())
    return digest.digest()
