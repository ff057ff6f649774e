"""Settings as text, and the difference between two; secrets stay out of both."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo

from optimizer import __version__
from optimizer.config.fields import Section, is_live, is_secret, section_of
from optimizer.config.settings import Settings

Format = Literal["toml", "yaml", "json"]
HIDDEN = "(secret, not shown)"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs; secrets are shown as such."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What a reload would change: now (`live`), or only after a restart."""

    live: tuple[Change, ...]
    restart: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.live or self.restart)


def dump(settings: Settings, format: Format = "toml", *, comments: bool = False) -> str:  # noqa: A002 - the contract's word
    """The settings as a file that loads back to an equal tree, except for secrets, which are left out.

    `comments` adds the description above each key (TOML alone has room for them).
    """
    if format == "toml":
        return "\n".join(_toml(settings, comments)) + "\n"
    values = {name: _visible(getattr(settings, name)) for name in Settings.model_fields}
    if format == "json":
        return json.dumps(values, indent=2) + "\n"
    import yaml

    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def diff(old: Settings, new: Settings) -> Difference:
    """Every setting that differs, split into what applies at once and what needs a restart."""
    live: list[Change] = []
    restart: list[Change] = []
    for section, name, field in _keys():
        before, after = (getattr(getattr(each, section), name) for each in (old, new))
        if before != after:
            change = Change(f"{section}.{name}", _text(before, field), _text(after, field))
            (live if is_live(field) else restart).append(change)
    return Difference(tuple(live), tuple(restart))


def apply_live(old: Settings, new: Settings) -> Settings:
    """The settings after a reload: `old` with those values of `new` that may change while the server runs."""
    sections: dict[str, Section] = {}
    for section, name, field in _keys():
        if is_live(field):
            current = sections.get(section, getattr(old, section))
            sections[section] = current.model_copy(update={name: getattr(getattr(new, section), name)})
    return old.model_copy(update=sections)


def _keys() -> Iterator[tuple[str, str, FieldInfo]]:
    for section, outer in Settings.model_fields.items():
        below = section_of(outer.annotation)
        for name, field in below.model_fields.items() if below is not None else ():
            yield section, name, field


def _text(value: object, field: FieldInfo) -> str:
    if value is None:
        return "(not set)"
    return HIDDEN if is_secret(field.annotation) else str(value)


def _visible(section: Section) -> dict[str, Any]:
    """The section's values that are set and no secret, in JSON types."""
    fields = type(section).model_fields
    hidden = {name for name, field in fields.items() if is_secret(field.annotation)}
    if getattr(section, "version", None) == __version__:
        hidden.add("version")  # pinning it in a file would outlive the next upgrade
    return {name: value for name, value in section.model_dump(mode="json", exclude=hidden).items() if value is not None}


def _toml(settings: Settings, comments: bool) -> Iterator[str]:
    import tomli_w

    for number, section_name in enumerate(Settings.model_fields):
        section: Section = getattr(settings, section_name)
        shown = _visible(section)
        if number:
            yield ""
        if comments:
            yield f"# {(type(section).__doc__ or '').splitlines()[0]}"
        yield f"[{section_name}]"
        for name, field in type(section).model_fields.items():
            if comments:
                yield f"# {field.description}"
            value = getattr(section, name)
            if name in shown:
                yield tomli_w.dumps({name: shown[name]}).rstrip("\n")
            elif is_secret(field.annotation):
                yield f"# {name} = {HIDDEN if value else '(not set)'}"
            elif value is None:
                yield f"# {name} = (not set)"
            else:
                yield f'# {name} = "{value}"'
