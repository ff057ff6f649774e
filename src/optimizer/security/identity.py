"""Who calls, and what each role may do. Whatever is not granted here is denied."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from optimizer.model import PermissionDenied


class Permission(StrEnum):
    """The permissions of the contract. Deciding and feedback are `OPTIMIZE_EXECUTE` and `OPTIMIZE_WRITE`."""

    OPTIMIZE_READ = "optimize:read"
    OPTIMIZE_WRITE = "optimize:write"
    OPTIMIZE_EXECUTE = "optimize:execute"
    CONFIG_READ = "config:read"
    CONFIG_WRITE = "config:write"
    METRICS_READ = "metrics:read"
    METRICS_WRITE = "metrics:write"
    INTEGRATION_READ = "integration:read"
    INTEGRATION_WRITE = "integration:write"
    INTEGRATION_DELETE = "integration:delete"
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"
    ADMIN_EXECUTE = "admin:execute"
    SYSTEM_HEALTH = "system:health"


_READ = frozenset(
    {
        Permission.OPTIMIZE_READ,
        Permission.CONFIG_READ,
        Permission.METRICS_READ,
        Permission.INTEGRATION_READ,
        Permission.SYSTEM_HEALTH,
    }
)
_OPTIMIZE = frozenset({Permission.OPTIMIZE_READ, Permission.OPTIMIZE_WRITE, Permission.OPTIMIZE_EXECUTE})
_ADMIN = frozenset({Permission.ADMIN_READ, Permission.ADMIN_WRITE, Permission.ADMIN_EXECUTE})

# The REST roles of the contract, then its three gRPC levels, which nest.
ROLES: dict[str, frozenset[Permission]] = {
    "admin": frozenset(Permission),
    "user": _READ | _OPTIMIZE,
    "readonly": _READ,
    "api_user": _OPTIMIZE | {Permission.CONFIG_READ, Permission.METRICS_READ, Permission.SYSTEM_HEALTH},
    "read": _READ,
    "write": frozenset(Permission) - _ADMIN,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. `expires_at` is in seconds since 1970, None for a credential without an end."""

    subject: str
    roles: frozenset[str]
    permissions: frozenset[Permission]
    kind: Literal["token", "api_key", "local"]
    expires_at: float | None = None


# Who everybody is when authentication is off, which the settings allow on a loopback host only.
LOCAL = Identity("local", frozenset({"admin"}), ROLES["admin"], "local")


def permissions_of(roles: Iterable[str]) -> frozenset[Permission]:
    """What the roles grant together; a role that does not exist grants nothing."""
    granted: frozenset[Permission] = frozenset()
    for role in roles:
        granted |= ROLES.get(role, frozenset())
    return granted


def require(identity: Identity, permission: Permission) -> None:
    """Return when the identity holds the permission. Raises: `PermissionDenied` that names the permission."""
    if permission not in identity.permissions:
        raise PermissionDenied(f"{identity.subject} lacks the permission {permission.value}")
