"""Configuration entries between the domain and the contract."""

from optimizer.grpc_api.convert.times import to_time
from optimizer.grpc_api.pb import config_pb2 as pb
from optimizer.model import EntryChange, InvalidArgument, Scope
from optimizer.model.notices import ScopeKind
from optimizer.processor.entries import Entry, EntryVersion, masked

SCOPES: dict[pb.ConfigScope, ScopeKind] = {
    pb.CONFIG_SCOPE_UNSPECIFIED: "global",
    pb.CONFIG_SCOPE_GLOBAL: "global",
    pb.CONFIG_SCOPE_SERVICE: "service",
    pb.CONFIG_SCOPE_ENVIRONMENT: "environment",
    pb.CONFIG_SCOPE_USER: "user",
}
_NUMBERS = {word: number for number, word in SCOPES.items()}


def from_scope(number: pb.ConfigScope, scope_id: str) -> Scope:
    """The scope; an unspecified one is the global one. Raises InvalidArgument."""
    kind = SCOPES.get(number)
    if kind is None:
        raise InvalidArgument(f"{number} is not a scope", field="scope")
    return Scope(kind, scope_id)


def to_entry(entry: Entry) -> pb.ConfigEntry:
    """The entry on the wire, masked when sensitive."""
    shown = masked(entry)
    return pb.ConfigEntry(
        key=shown.key,
        value=shown.value,
        type=shown.type,
        description=shown.description,
        sensitive=shown.sensitive,
        created_at=to_time(shown.created_at),
        updated_at=to_time(shown.updated_at),
        updated_by=shown.updated_by,
        metadata=shown.metadata,
    )


def to_version(version: EntryVersion, *, entries: bool = True) -> pb.ConfigVersion:
    """The version on the wire, with or without its entries."""
    return pb.ConfigVersion(
        version_id=version.id,
        version_number=version.number,
        created_at=to_time(version.created_at),
        created_by=version.created_by,
        change_summary=version.summary,
        entries={key: to_entry(entry) for key, entry in version.entries.items()} if entries else {},
    )


def to_change(change: EntryChange) -> pb.ConfigChangeEvent:
    """A change on the wire; sensitive values are masked already."""
    return pb.ConfigChangeEvent(
        key=change.key,
        old_value=change.old_value or "",
        new_value=change.new_value or "",
        scope=_NUMBERS[change.scope.kind],
        scope_id=change.scope.id,
        timestamp=to_time(change.at),
        changed_by=change.by,
        change_reason=change.reason or ("deleted" if change.new_value is None else ""),
    )
