"""Roles grant exactly what the contract says, and nothing grants by accident."""

import pytest

from optimizer.model import PermissionDenied
from optimizer.security import LOCAL, Identity, Permission, permissions_of, require
from optimizer.security.identity import ROLES

P = Permission
READ = {P.OPTIMIZE_READ, P.CONFIG_READ, P.METRICS_READ, P.INTEGRATION_READ, P.SYSTEM_HEALTH}
TABLE = {
    "admin": set(P),
    "user": READ | {P.OPTIMIZE_WRITE, P.OPTIMIZE_EXECUTE},
    "readonly": READ,
    "api_user": {
        P.OPTIMIZE_READ,
        P.OPTIMIZE_WRITE,
        P.OPTIMIZE_EXECUTE,
        P.CONFIG_READ,
        P.METRICS_READ,
        P.SYSTEM_HEALTH,
    },
    "read": READ,
    "write": set(P) - {P.ADMIN_READ, P.ADMIN_WRITE, P.ADMIN_EXECUTE},
}


def test_there_are_fourteen_permissions() -> None:
    assert len(Permission) == 14


@pytest.mark.parametrize("role", TABLE)
@pytest.mark.parametrize("permission", list(Permission))
def test_the_table_of_the_contract(role: str, permission: Permission) -> None:
    identity = Identity("x", frozenset({role}), permissions_of([role]), "token")
    if permission in TABLE[role]:
        require(identity, permission)
        assert permission in identity.permissions
    else:
        with pytest.raises(PermissionDenied, match=permission.value):
            require(identity, permission)


def test_every_role_is_in_the_table() -> None:
    assert TABLE.keys() == ROLES.keys()


def test_nobody_is_nothing() -> None:
    assert permissions_of([]) == frozenset()
    assert permissions_of(["Admin", "ADMIN", "root", ""]) == frozenset()
    assert permissions_of(["readonly", "api_user"]) == permissions_of(["user"])
    assert LOCAL.permissions == frozenset(Permission)
