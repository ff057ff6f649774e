"""The alias table: which attribute of which dialect means which of our fields. The names themselves are data."""

import tomllib
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

# Attribute names whose meaning is remembered: what a few hundred instrumentations send. Beyond it each is worked out.
KNOWN_NAMES = 8192
NO_DIALECT = 99


class Keep(IntEnum):
    """What becomes of an attribute besides its meaning; nothing is false."""

    NOTHING = 0
    USAGE = 1
    OTHER = 2
    CONTENT = 3


class Meaning(NamedTuple):
    """What one attribute name stands for: our `field` and the name's rank in it, the `dialect` that it marks (its place
    in the list), the `context` key, what is kept of it as it was sent, and whether the name is short and ASCII."""

    field: str | None
    rank: int
    dialect: int
    context: str | None
    keep: Keep
    ascii: bool


class Aliases:
    """The table, with the meaning of each name worked out once."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.fields: dict[str, tuple[str, int]] = {}
        for field, names in table["fields"].items():
            for rank, name in enumerate(names):
                if name in self.fields:
                    raise ValueError(f"{name} stands for {self.fields[name][0]} and {field}")
                self.fields[name] = (field, rank)
        self.operations = frozenset(table["calls"]["operations"])
        self.openinference_kinds = frozenset(table["calls"]["openinference_kinds"])
        self.dialects = tuple(table["dialects"])
        self.providers: Mapping[str, str] = table["providers"]
        scores = table["scores"]
        self.labels = dict.fromkeys(scores["good"], 1.0) | dict.fromkeys(scores["bad"], 0.0)
        self._marks = tuple(tuple(marks) for marks in table["dialects"].values())
        self._context = tuple(table["context"]["prefixes"])
        self._content = tuple(table["content"]["prefixes"])
        self._no_content = frozenset(table["content"]["except"])
        self.known: dict[str, Meaning] = {}
        """Names whose meaning was worked out before; `meaning` adds to it."""

    def meaning(self, name: str) -> Meaning:
        """What the attribute name stands for."""
        known = self.known.get(name)
        if known is None:
            known = self._work_out(name)
            if len(self.known) < KNOWN_NAMES:
                self.known[name] = known
        return known

    def _work_out(self, name: str) -> Meaning:
        field, rank = self.fields.get(name, (None, 0))
        context = next((name[len(p) :] for p in self._context if name.startswith(p) and len(name) > len(p)), None)
        if "usage" in name or "token_count" in name:
            keep = Keep.USAGE
        elif field is not None or context is not None:
            keep = Keep.NOTHING
        elif name.startswith(self._content) and name not in self._no_content:
            keep = Keep.CONTENT
        else:
            keep = Keep.OTHER
        return Meaning(field, rank, self._dialect(name), context, keep, name.isascii() and 0 < len(name) <= 256)

    def _dialect(self, name: str) -> int:
        for index, marks in enumerate(self._marks):
            for mark in marks:
                if name == mark or (mark.endswith("*") and name.startswith(mark[:-1])):
                    return index
        return NO_DIALECT


@cache
def load_aliases() -> Aliases:
    """The table of the package."""
    return read_aliases(resources.files(__package__).joinpath("aliases.toml").read_text(encoding="utf-8"))


def read_aliases(text: str) -> Aliases:
    """The table in a TOML text. Raises ValueError when an attribute stands for two fields."""
    return Aliases(tomllib.loads(text))
