"""Planning changes of a scope: pure functions from a version to the next one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optimizer.model import EntryChange, InvalidArgument, NotFound, Scope
from optimizer.processor.entries.values import MASK, Draft, Entry, EntryVersion, check_draft

ENTRIES = 2_000
SCOPE_BYTES = 1 << 20
"""All values of one scope together: a version is one document, read and written whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes something, when (microseconds since 1970) and why."""

    by: str
    at: int
    reason: str = ""


def set_entry(entries: Mapping[str, Entry], draft: Draft, author: Author) -> dict[str, Entry]:
    """The entries with the draft in place. Raises InvalidArgument."""
    check_draft(draft)
    before = entries.get(draft.key)
    entry = Entry(
        key=draft.key,
        value=draft.value,
        type=draft.type,
        description=draft.description,
        sensitive=draft.sensitive,
        created_at=author.at if before is None else before.created_at,
        updated_at=author.at,
        updated_by=author.by,
        metadata=draft.metadata,
    )
    return {**entries, draft.key: entry}


def remove_entry(entries: Mapping[str, Entry], key: str) -> dict[str, Entry]:
    """The entries without this one. Raises NotFound."""
    if key not in entries:
        raise NotFound(f"no entry {key!r} in this scope")
    return {other: entry for other, entry in entries.items() if other != key}


def next_version(before: EntryVersion, entries: dict[str, Entry], author: Author, summary: str) -> EntryVersion:
    """The version after `before`. Raises InvalidArgument when the scope would become too large."""
    if len(entries) > ENTRIES:
        raise InvalidArgument(f"{len(entries)} entries in one scope; at most {ENTRIES}")
    size = sum(len(entry.value) + len(entry.description) + len(entry.key) for entry in entries.values())
    if size > SCOPE_BYTES:
        raise InvalidArgument(f"{size} characters in one scope; at most {SCOPE_BYTES}")
    return EntryVersion(
        number=before.number + 1,
        created_at=author.at,
        created_by=author.by,
        summary=summary,
        entries=dict(sorted(entries.items())),
    )


def changes_between(
    scope: Scope, before: Mapping[str, Entry], after: Mapping[str, Entry], author: Author
) -> list[EntryChange]:
    """What subscribers are told, in key order; entries whose value and secrecy stayed are left out."""
    return [
        EntryChange(
            scope=scope,
            key=key,
            old_value=_shown(before.get(key)),
            new_value=_shown(after.get(key)),
            at=author.at,
            by=author.by,
            reason=author.reason,
        )
        for key in _differing(before, after)
    ]


def _differing(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> Iterable[str]:
    def essence(entry: Entry | None) -> tuple[str, str, bool] | None:
        return None if entry is None else (entry.value, entry.type, entry.sensitive)

    return (key for key in sorted({*before, *after}) if essence(before.get(key)) != essence(after.get(key)))


def _shown(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    return MASK if entry.sensitive else entry.value
