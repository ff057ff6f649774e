"""`decide`: which variant a call should use, answered from memory and recorded behind the answer."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from optimizer.core.assignment import choose, encode, unit_of
from optimizer.core.records import Exposure
from optimizer.core.rollout import place_of
from optimizer.core.segments import segment_of
from optimizer.model import Assignment, NotFound, Policy, Scalar, Service, Unavailable

LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice with everything that its taker needs."""

    assignment: Assignment
    config: dict[str, object]


class Decider:
    """Chooses by the policy in force. Synchronous: no write and no wait lies between question and answer.

    The same key gives the same variant under the same policy version. Exposures go to a bounded channel that a task
    writes to the log in batches; when storage is away and the channel is full they are dropped and counted, because an
    assignment id says everything about itself and feedback brings it back.
    """

    def __init__(
        self,
        key: bytes,
        *,
        now: Callable[[], int],
        nonce: Callable[[], bytes],
        exposures: trio.MemorySendChannel[tuple[str, Exposure]],
    ) -> None:
        self._key = key
        self._now = now
        self._nonce = nonce
        self._exposures = exposures
        self._table: dict[str, tuple[Service, Policy]] = {}
        self.decisions = 0
        self.exposures_dropped = 0

    def adopt(self, service: Service, policy: Policy) -> None:
        """Serve this policy from now on."""
        self._table[service.name] = (service, policy)

    def withdraw(self, name: str) -> None:
        """The service is gone."""
        self._table.pop(name, None)

    def policy(self, name: str) -> Policy | None:
        """The policy being served."""
        entry = self._table.get(name)
        return None if entry is None else entry[1]

    def decide(
        self,
        name: str,
        context: dict[str, Scalar],
        *,
        sticky: str | None = None,
        request_id: str | None = None,
    ) -> Decision:
        """The variant for one call, or for a whole conversation when `sticky` is its key.

        Raises NotFound for an unknown service, Unavailable in the instant between its declaration and its first policy.
        """
        entry = self._table.get(name)
        if entry is None:
            raise NotFound(f"service {name!r} is not declared")
        service, policy = entry
        if policy.cursor < 0:
            raise Unavailable(f"service {name!r} has no policy yet", retry_after_s=0.1)
        segment = segment_of(service, context)
        nonce = self._nonce()
        unit, place = _draws(policy, name, sticky, nonce)
        index, probability, reason = choose(policy, segment, unit, place)
        now = self._now()
        assignment_id = encode(
            self._key,
            service=name,
            policy_version=policy.version,
            segment=segment,
            variant=index,
            reason=reason,
            decided_at=now // 1000,
            nonce=nonce,
        )
        self.decisions += 1
        self._expose(name, Exposure(assignment_id, request_id, sticky))
        assignment = Assignment(
            assignment_id=assignment_id,
            service=name,
            segment=segment,
            variant=policy.variants[index],
            probability=probability,
            policy_version=policy.version,
            reason=reason,
            decided_at=now,
            expires_at=now + int(service.lease_s * 1_000_000),
        )
        return Decision(assignment, service.variants[index].config)

    def _expose(self, name: str, exposure: Exposure) -> None:
        try:
            self._exposures.send_nowait((name, exposure))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.exposures_dropped += 1


def _draws(policy: Policy, service: str, sticky: str | None, nonce: bytes) -> tuple[float, float]:
    """Two independent points of [0, 1): for the policy's row and holdout, and for a rollout's split."""
    key = nonce.hex() if sticky is None else sticky
    salt = "" if policy.split is None else policy.split.salt
    return unit_of(service, key), place_of(salt, key) if salt else 1.0
