"""Layering: defaults < file < environment < flags, checked as a whole, with every problem reported at once."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.config.fields import Section, is_secret, section_of
from optimizer.config.settings import Settings
from optimizer.config.sources import Layer, read_environment, read_file, read_overrides
from optimizer.model import ConfigurationError


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings from all sources together.

    `overrides` maps dotted keys ("observability.log_level") to values; None means not given.
    Raises: `ConfigurationError` that lists every problem, one per line: source, key, what is wrong, what is allowed.
    A secret's value never appears in it.
    """
    layers = read_file(file) if file is not None else Layer()
    layers.merge(read_environment(environ or {}))
    layers.merge(read_overrides(overrides or {}))
    problems = list(layers.problems)
    settings = None
    try:
        # Through strict JSON: "8080" is no port and 1 is no boolean, yet a list may become a tuple and a text a path.
        settings = Settings.model_validate_json(json.dumps(_plain(layers.values)), strict=True)
    except ValidationError as error:
        problems.extend(
            _describe(each["type"], tuple(map(str, each["loc"])), each["msg"], each.get("input"), layers)
            for each in error.errors(include_url=False)
        )
    if problems or settings is None:
        raise ConfigurationError("\n".join(problems))
    return settings


def _plain(value: object) -> object:
    """The value with text keys and JSON types only (YAML and TOML know dates, which no setting takes)."""
    if isinstance(value, Mapping):
        return {str(name): _plain(below) for name, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _describe(kind: str, path: tuple[str, ...], message: str, value: object, layers: Layer) -> str:
    dotted = ".".join(path) or "settings"
    if kind == "extra_forbidden":
        return f"{_origin(path, layers)}: {dotted}: unknown key; {_suggest(path)}"
    if kind == "missing":
        return f"{_origin(path, layers)}: {dotted}: is required"
    text = message.removeprefix("Value error, ").replace("Input should be", "expected")
    if kind == "value_error" and section_of(_annotation(path)) is not None:
        return f"{_origins_named(path, message, layers)}: {dotted}: {text}"
    return f"{_origin(path, layers)}: {dotted}: {text}{_show(path, value)}"


def _show(path: tuple[str, ...], value: object) -> str:
    """The offending value where that is safe: a plain value of a setting that is no secret."""
    annotation = _annotation(path)
    if annotation is None or is_secret(annotation) or not isinstance(value, (str, int, float, bool)):
        return ""
    shown = repr(value)
    return f", not {shown if len(shown) <= 80 else shown[:77] + '...'}"


def _origin(path: tuple[str, ...], layers: Layer) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in layers.origins:
            return layers.origins[path[:length]]
    return "settings"


def _origins_named(path: tuple[str, ...], message: str, layers: Layer) -> str:
    """The sources of those keys below `path` that the message names: a contradiction has several."""
    named = [
        origin
        for key, origin in layers.origins.items()
        if key[: len(path)] == path and len(key) > 1 and (key[-1] in message if path else ".".join(key) in message)
    ]
    return ", ".join(dict.fromkeys(named)) or _origin(path, layers)


def _suggest(path: tuple[str, ...]) -> str:
    section = _section(path[:-1])
    known = list(section.model_fields) if section is not None else []
    close = difflib.get_close_matches(path[-1].lower(), known, n=1)
    if close:
        return f"did you mean {'.'.join((*path[:-1], close[0]))}?"
    elsewhere = [f"{name}.{path[-1]}" for name, key in _sections() if path[-1] in key.model_fields]
    if elsewhere:
        return f"there is {' and '.join(elsewhere)}"
    return f"allowed here: {', '.join(known)}"


def _sections() -> list[tuple[str, type[Section]]]:
    found = [(name, section_of(field.annotation)) for name, field in Settings.model_fields.items()]
    return [(name, section) for name, section in found if section is not None]


def _section(path: tuple[str, ...]) -> type[Section] | None:
    section: type[Section] | None = Settings
    for step in path:
        if section is None or step not in section.model_fields:
            return None
        section = section_of(section.model_fields[step].annotation)
    return section


def _annotation(path: tuple[str, ...]) -> Any:
    """The annotation of the setting at `path`; of its list when the path goes on into one; Settings for the root."""
    annotation: Any = Settings
    section: type[Section] | None = Settings
    for step in path:
        if section is None:
            return annotation
        if step not in section.model_fields:
            return None
        annotation = section.model_fields[step].annotation
        section = section_of(annotation)
    return annotation
