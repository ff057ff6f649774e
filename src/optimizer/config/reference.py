"""Write the generated documents: `python -m optimizer.config.reference` in the project's folder.

`docs/configuration.md` and `config/optimizer.example.toml` come from the settings tree itself, so they cannot be wrong
about a key, a default or a bound; a test compares them with what this module would write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from optimizer.config.fields import Section, is_live, is_optional, section_of, types_of
from optimizer.config.rendering import dump
from optimizer.config.settings import Settings

DOCUMENT = Path("docs/configuration.md")
EXAMPLE = Path("config/optimizer.example.toml")

_INTRODUCTION = """\
# Configuration

Written by `python -m optimizer.config.reference` from the settings themselves; edit those, not this page.

Every key has a default, and the defaults need no file and no other server: the optimizer listens on loopback, keeps its
data in `./data` and requires authentication. Settings come from four places, the later ones winning key by key:

1. the defaults below,
2. a file given with `--config`: TOML (`.toml`) or YAML (`.yaml`, `.yml`); every key is in
   `config/optimizer.example.toml`,
3. the environment: `LLM_OPTIMIZER__SECTION__KEY`, for example `LLM_OPTIMIZER__REST_API__PORT=8888`
   (`LLM_OPTIMIZER_REST_API__PORT` means the same). Lists are JSON or separated by commas, objects are JSON, an empty
   value unsets an optional key. Names without `__` after the prefix are not settings: Kubernetes injects such names,
   and the command-line client uses `LLM_OPTIMIZER_API_URL` and `LLM_OPTIMIZER_API_KEY`,
4. flags: `--log-level`, `--json-logs`.

Unknown keys are errors. All problems are reported at once, each with its source, key, value and what is allowed;
`--validate-config` checks without starting, `--print-default-config` prints the defaults as TOML. Secrets are never
printed, dumped or logged.

*Live* keys follow a reload (SIGHUP, or `ReloadConfig`) at once; the others are reported as needing a restart. A reload
with an invalid configuration changes nothing.

## Where this differs from the earlier defaults

* `service.host` is loopback, not `0.0.0.0`: reachable from outside only when asked for, and never without
  authentication.
* `collector.kafka_brokers`, `storage.postgres_url` and `storage.redis_url` are unset: setting one switches it on.
* `storage.sled_path` is accepted and names the folder of the embedded store; there is no Sled.
* There is no built-in signing secret: a random one is made in `storage.data_dir` on first start.
* Rate limits are off until they are set (`requests_per_second`): a limit of 100 calls per second would refuse ordinary
  traffic. Overload is bounded by `[limits]` in any case.
* Port 0 takes any free port while `service.environment` is `development`, and is refused otherwise.
"""


def render_document() -> str:
    """The page: one table per section."""
    return "\n".join([_INTRODUCTION, *_sections()]) + "\n"


def render_example() -> str:
    """The example file: every key with its default and description."""
    head = "# Every setting with its default; see docs/configuration.md. Unknown keys are errors.\n\n"
    return head + dump(Settings(), comments=True)


def main(folder: Path) -> None:
    """Write both documents below `folder`."""
    for path, text in ((DOCUMENT, render_document()), (EXAMPLE, render_example())):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            yield from _section(name, section)


def _section(name: str, section: type[Section]) -> Iterator[str]:
    yield f"\n## [{name}]\n\n{(section.__doc__ or '').splitlines()[0]}\n"
    yield "| key | default | allowed | live | what it does |"
    yield "|---|---|---|---|---|"
    below: list[tuple[str, type[Section]]] = []
    for key, field in section.model_fields.items():
        live = "yes" if is_live(field) else ""
        yield f"| `{key}` | {_default(key, field)} | {_allowed(field)} | {live} | {field.description} |"
        inner = section_of(field.annotation) or _member(field.annotation)
        if inner is not None:
            below.append((f"{name}.{key}", inner))
    for inner_name, inner in below:
        yield f"\nEach entry of `{inner_name}`:\n"
        yield "| key | default | allowed | what it does |"
        yield "|---|---|---|---|"
        for key, field in inner.model_fields.items():
            yield f"| `{key}` | {_default(key, field)} | {_allowed(field)} | {field.description} |"


def _default(key: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if key == "version":
        return "the installed version"
    value = field.default
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (int, float)):
        return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    return f'`"{value}"`' if isinstance(value, (str, Path)) else "`[]`"


def _allowed(field: FieldInfo) -> str:
    (kind,) = types_of(field.annotation)
    text = _words(kind)
    bounds = _bounds([*field.metadata, *_metadata(field.annotation)])
    optional = ", or unset" if is_optional(field.annotation) else ""
    return f"{text}{' ' + bounds if bounds else ''}{optional}"


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if get_origin(kind) is tuple:
        (member,) = types_of(get_args(kind)[0])
        return f"list of {_words(member)}s" if get_origin(member) is not Literal else f"list of {_words(member)}"
    names = {bool: "boolean", int: "integer", float: "number", str: "text", Path: "path", SecretStr: "secret"}
    return names.get(kind, "table")


def _metadata(annotation: Any) -> list[Any]:
    """The bounds inside an optional annotation, which pydantic leaves on the inner type."""
    found: list[Any] = []
    for part in (annotation, *get_args(annotation)):
        for entry in getattr(part, "__metadata__", ()):
            found += entry.metadata if isinstance(entry, FieldInfo) else [entry]
    return found


def _bounds(metadata: list[Any]) -> str:
    words: dict[type, str] = {}
    for entry in metadata:
        if isinstance(entry, Gt):
            words[Gt] = f"> {entry.gt}"
        elif isinstance(entry, Ge):
            words[Ge] = f"≥ {entry.ge}"
        elif isinstance(entry, Le):
            words[Le] = f"≤ {entry.le}"
        elif isinstance(entry, MinLen):
            words[MinLen] = "(at least one)"
    return ", ".join(words.values())


def _member(annotation: Any) -> type[Section] | None:
    """The section class inside a list of sections."""
    for kind in types_of(annotation):
        if get_origin(kind) is tuple:
            return section_of(get_args(kind)[0])
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
