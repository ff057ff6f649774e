"""From exceptions to gRPC statuses: the error table of the contract, with google.rpc details."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message as ProtoMessage
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status as StatusDetails
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from optimizer.grpc_api.calls.metadata import encode_binary, encode_message
from optimizer.model import (
    AlreadyExists,
    ConfigurationError,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OptimizerError,
    PermissionDenied,
    ResourceExhausted,
    StoreCorrupt,
    StoreLocked,
    Unauthenticated,
    Unavailable,
)

DETAILS_LIMIT: Final = 4 * 1024  # larger details are left out: clients refuse header lists of 8 KiB and more

# The first class that matches decides, so subclasses stand before their parents.
_TABLE: Final[tuple[tuple[type[OptimizerError], Status], ...]] = (
    (NotFound, Status.NOT_FOUND),
    (InvalidArgument, Status.INVALID_ARGUMENT),
    (AlreadyExists, Status.ALREADY_EXISTS),
    (PermissionDenied, Status.PERMISSION_DENIED),
    (Unauthenticated, Status.UNAUTHENTICATED),
    (ResourceExhausted, Status.RESOURCE_EXHAUSTED),
    (FailedPrecondition, Status.FAILED_PRECONDITION),
    (ConfigurationError, Status.FAILED_PRECONDITION),
    (Conflict, Status.ABORTED),
    (Unavailable, Status.UNAVAILABLE),
    (StoreLocked, Status.FAILED_PRECONDITION),
    (StoreCorrupt, Status.DATA_LOSS),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ends when it does not end well. `retry_after_s` becomes RetryInfo and grpc-retry-pushback-ms."""

    status: Status
    message: str
    details: tuple[ProtoMessage, ...] = field(default=())
    retry_after_s: float | None = None

    def fields(self) -> list[tuple[str, str]]:
        """The trailers."""
        fields = [("grpc-status", str(self.status.value)), ("grpc-message", encode_message(self.message))]
        details = list(self.details)
        if self.retry_after_s is not None:
            retry = RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_after_s * 1e9))
            details.append(retry)
            fields.append(("grpc-retry-pushback-ms", str(max(1, round(self.retry_after_s * 1e3)))))
        if details:
            packed = _pack(self.status, self.message, details)
            if len(packed) <= DETAILS_LIMIT:
                fields.append(("grpc-status-details-bin", encode_binary(packed)))
        return fields


UNEXPECTED: Final = Failure(Status.INTERNAL, "internal error")
UNIMPLEMENTED: Final = Failure(Status.UNIMPLEMENTED, "this method does not exist here")


def explain(error: BaseException) -> Failure | None:
    """The failure that an expected error stands for; None when it is a bug."""
    if isinstance(error, GRPCError):
        details = error.details if isinstance(error.details, Sequence) else ()
        return Failure(error.status, error.message or "", tuple(details))
    if isinstance(error, BaseExceptionGroup):
        known = [explain(each) for each in error.exceptions]
        return known[0] if known and None not in known else None
    for kind, status in _TABLE:
        if isinstance(error, kind):
            retry = error.retry_after_s if isinstance(error, ResourceExhausted | Unavailable) else None
            return Failure(status, str(error), _details(error), retry)
    return None


def _details(error: OptimizerError) -> tuple[ProtoMessage, ...]:
    if isinstance(error, InvalidArgument) and error.field is not None:
        violation = BadRequest.FieldViolation(field=error.field, description=str(error))
        return (BadRequest(field_violations=[violation]),)
    return ()


def _pack(status: Status, message: str, details: Sequence[ProtoMessage]) -> bytes:
    whole = StatusDetails(code=status.value, message=message)
    for detail in details:
        whole.details.add().Pack(detail)
    return bytes(whole.SerializeToString())
