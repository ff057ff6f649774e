"""Entries and versions, and what is allowed in them."""

import json
import math
import re

import msgspec

from optimizer.model import InvalidArgument, Scope

MASK = "********"
"""Stands for every sensitive value outside this room. It is refused as a value, so that no read is written back."""

KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,255}")
SCOPE_ID = re.compile(r"[A-Za-z0-9_.:@+-]{1,128}")
VALUE_BYTES = 64 << 10
METADATA = 64
TYPES = ("string", "int", "float", "bool", "json")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A value to set. `value` is text that reads as `type`."""

    key: str
    value: str
    type: str = "string"
    description: str = ""
    sensitive: bool = False
    metadata: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A value as kept. Times are microseconds since 1970 UTC."""

    key: str
    value: str
    type: str
    description: str
    sensitive: bool
    created_at: int
    updated_at: int
    updated_by: str
    metadata: dict[str, str] = {}


class EntryVersion(msgspec.Struct, frozen=True, kw_only=True):
    """All entries of a scope after a change. Numbers rise by one."""

    number: int
    created_at: int
    created_by: str
    summary: str
    entries: dict[str, Entry] = {}

    @property
    def id(self) -> str:
        """The name that clients use for it."""
        return f"v{self.number}"


def masked(entry: Entry) -> Entry:
    """The entry as it may be shown."""
    return msgspec.structs.replace(entry, value=MASK) if entry.sensitive else entry


def check_scope(scope: Scope) -> None:
    """Raise InvalidArgument unless the scope names exactly what its kind needs."""
    if scope.kind == "global":
        if scope.id:
            raise InvalidArgument("the global scope has no id", field="scope_id")
    elif not SCOPE_ID.fullmatch(scope.id):
        raise InvalidArgument(f"scope {scope.kind} needs an id of 1 to 128 letters, digits, '_.:@+-'", field="scope_id")


def check_draft(draft: Draft) -> None:
    """Raise InvalidArgument naming what is wrong with the draft."""
    if not KEY.fullmatch(draft.key):
        raise InvalidArgument(
            "a key has 1 to 256 letters, digits and '_.:/-', and begins with none of '.:/-'", field="key"
        )
    if draft.type not in TYPES:
        raise InvalidArgument(f"type is one of {', '.join(TYPES)}", field="type")
    if len(draft.value.encode(errors="surrogatepass")) > VALUE_BYTES:
        raise InvalidArgument(f"a value has at most {VALUE_BYTES} bytes", field="value")
    if draft.value == MASK:
        raise InvalidArgument("this text stands for a hidden value; send the value itself", field="value")
    if len(draft.metadata) > METADATA or len(draft.description) > 4096:
        raise InvalidArgument(f"at most {METADATA} metadata and 4096 characters of description", field="metadata")
    problem = _misread(draft.type, draft.value)
    if problem:
        raise InvalidArgument(problem, field="value")


def _misread(kind: str, value: str) -> str | None:
    """Why the text does not read as its type, None when it does."""
    if kind == "int" and not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
        return "is not an integer"
    if kind == "bool" and value not in ("true", "false"):
        return "is neither true nor false"
    if kind == "float" and not _is_number(value):
        return "is not a finite number"
    if kind == "json":
        try:
            json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return "is not JSON"
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
