"""The entries of every scope: reads, changes with versions and events, revert, import.

A scope's newest version is one document; older versions are kept beside it, the newest `KEPT` of them. Every change
checks the document's version, so two writers never overwrite each other: the loser plans again on what the winner left.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from optimizer.bus import Topic
from optimizer.model import Conflict, EntryChange, InvalidArgument, NotFound, Scope
from optimizer.processor.entries.plan import Author, changes_between, next_version, remove_entry, set_entry
from optimizer.processor.entries.values import Draft, Entry, EntryVersion, check_scope
from optimizer.storage import ABSENT, Delete, Put, Store

KEPT = 100  # older versions of a scope: 100 MiB if all were of the largest size, a few in practice
ATTEMPTS = 8  # writers that may overtake one change before it is told about the conflict

_decode = msgspec.json.Decoder(EntryVersion).decode
Plan = Callable[[Mapping[str, Entry]], dict[str, Entry]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import or batch; `errors` name the entry in `field`."""

    created: int
    updated: int
    errors: tuple[InvalidArgument, ...]


class Entries:
    """Reads and changes entries; every change is durable before it returns, and then published on `changes`."""

    def __init__(self, store: Store, changes: Topic[EntryChange], now: Callable[[], int]) -> None:
        self._store = store
        self._changes = changes
        self._now = now

    async def get(self, scope: Scope, key: str) -> Entry:
        """One entry, its value unmasked. Raises NotFound."""
        entry = (await self.current(scope)).entries.get(key)
        if entry is None:
            raise NotFound(f"no entry {key!r} in this scope")
        return entry

    async def select(self, scope: Scope, prefix: str = "") -> list[Entry]:
        """The entries of a scope whose key starts with the prefix, in key order, values unmasked."""
        return [e for key, e in sorted((await self.current(scope)).entries.items()) if key.startswith(prefix)]

    async def current(self, scope: Scope) -> EntryVersion:
        """The newest version of a scope; number 0 before the first change."""
        return (await self._read(scope))[0]

    async def set(self, scope: Scope, draft: Draft, *, by: str, reason: str = "") -> Entry:
        """Create or replace an entry. Raises InvalidArgument, Conflict."""
        author = Author(by=by, at=self._now(), reason=reason)
        version = await self._change(scope, lambda e: set_entry(e, draft, author), author, f"set {draft.key}")
        return version.entries[draft.key]

    async def delete(self, scope: Scope, key: str, *, by: str, reason: str = "") -> None:
        """Remove an entry. Raises NotFound, Conflict."""
        author = Author(by=by, at=self._now(), reason=reason)
        await self._change(scope, lambda e: remove_entry(e, key), author, f"delete {key}")

    async def set_many(
        self, scope: Scope, drafts: Iterable[Draft | InvalidArgument], *, by: str, merge: bool = True, reason: str = ""
    ) -> Imported:
        """Set every good draft in one version; without `merge` all others go. Bad drafts harm only themselves."""
        author = Author(by=by, at=self._now(), reason=reason)
        good: list[Draft] = []
        errors: list[InvalidArgument] = []
        for draft in drafts:
            try:
                if isinstance(draft, InvalidArgument):
                    raise draft
                set_entry({}, draft, author)
                good.append(draft)
            except InvalidArgument as error:
                errors.append(
                    error if isinstance(draft, InvalidArgument) else InvalidArgument(str(error), field=draft.key)
                )
        before: set[str] = set()

        def plan(entries: Mapping[str, Entry]) -> dict[str, Entry]:
            before.clear()
            before.update(entries)
            planned = dict(entries)
            for draft in good:
                planned = set_entry(planned, draft, author)
            keys = {draft.key for draft in good}
            return planned if merge else {key: entry for key, entry in planned.items() if key in keys}

        if good or not merge:
            await self._change(scope, plan, author, f"import of {len(good)} entries")
        keys = {draft.key for draft in good}
        return Imported(len(keys - before), len(keys & before), tuple(errors))

    async def versions(self, scope: Scope) -> list[EntryVersion]:
        """The kept versions of a scope, newest first."""
        current = await self.current(scope)
        older = await self._store.scan(_old_key(scope, ""), limit=KEPT + 1)
        return [current, *(_decode(document.body) for document in reversed(older))] if current.number else []

    async def version(self, scope: Scope, version_id: str) -> EntryVersion:
        """A version of a scope. Raises NotFound for one that never was or is no longer kept."""
        current = await self.current(scope)
        if version_id == current.id and current.number:
            return current
        number = version_id.removeprefix("v")
        found = None
        if number.isascii() and number.isdigit() and len(number) <= 10:
            found = await self._store.get(_old_key(scope, f"{int(number):010}"))
        if found is None:
            raise NotFound(f"no version {version_id!r} of this scope")
        return _decode(found.body)

    async def revert(self, scope: Scope, version_id: str, *, by: str, reason: str = "") -> EntryVersion:
        """Make a new version with the entries of an older one. Raises NotFound, Conflict."""
        old = await self.version(scope, version_id)
        author = Author(by=by, at=self._now(), reason=reason)
        return await self._change(scope, lambda _: dict(old.entries), author, f"revert to {version_id}")

    async def _read(self, scope: Scope) -> tuple[EntryVersion, int]:
        check_scope(scope)
        document = await self._store.get(_current_key(scope))
        if document is None:
            return EntryVersion(number=0, created_at=0, created_by="", summary=""), ABSENT
        return _decode(document.body), document.version

    async def _change(self, scope: Scope, plan: Plan, author: Author, summary: str) -> EntryVersion:
        for attempt in range(ATTEMPTS):
            before, revision = await self._read(scope)
            after = next_version(before, plan(before.entries), author, summary)
            puts: list[Put | Delete] = [
                Put(key=_current_key(scope), body=msgspec.json.encode(after), expected=revision)
            ]
            if before.number:
                puts.append(Put(key=_old_key(scope, f"{before.number:010}"), body=msgspec.json.encode(before)))
            if before.number > KEPT:
                puts.append(Delete(key=_old_key(scope, f"{before.number - KEPT:010}")))
            try:
                await self._store.commit(puts)
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            for change in changes_between(scope, before.entries, after.entries, author):
                await self._changes.publish(change)
            return after
        raise AssertionError("the last attempt returns or raises")


def _current_key(scope: Scope) -> str:
    return f"entries/{scope.kind}/{quote(scope.id, safe='')}/current"


def _old_key(scope: Scope, number: str) -> str:
    return f"entries/{scope.kind}/{quote(scope.id, safe='')}/old/{number}"
