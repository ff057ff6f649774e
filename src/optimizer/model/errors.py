"""What can go wrong, in the words of the contract; the front doors map each kind to a status code."""


class OptimizerError(Exception):
    """An expected failure with a message for the caller. Bugs are never wrapped in it."""


class InvalidArgument(OptimizerError):
    """The request says something that no state of the server could make right."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConfigurationError(OptimizerError):
    """A setting is unknown, malformed or contradicts another; names file, key, value and what is allowed."""


class NotFound(OptimizerError):
    """The named thing does not exist."""


class AlreadyExists(OptimizerError):
    """The named thing exists and may not be created twice."""


class Conflict(OptimizerError):
    """The thing changed since it was read, or another change on it is under way."""


class FailedPrecondition(OptimizerError):
    """Right request, wrong state: another action has to come first."""


class Unauthenticated(OptimizerError):
    """No identity, or one that does not hold."""


class PermissionDenied(OptimizerError):
    """The identity is known and may not do this."""


class ResourceExhausted(OptimizerError):
    """A bound was reached; `retry_after_s` says when trying again makes sense."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(OptimizerError):
    """A part that the request needs is away; trying again later is right."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageUnavailable(Unavailable):
    """The store cannot write or read now (full disk, read-only folder, lost connection); nothing was acknowledged."""


class StoreLocked(OptimizerError):
    """Another process holds the store."""


class StoreCorrupt(OptimizerError):
    """The store's content contradicts itself; starting on it would lose or double events."""


def sole_error(error: BaseException) -> BaseException:
    """The one error inside groups of one; the argument itself when it is no group or holds several."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        if len(inner.exceptions) != 1:
            return error
        inner = inner.exceptions[0]
    return inner
