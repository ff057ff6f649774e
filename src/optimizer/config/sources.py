"""Where settings come from: a TOML or YAML file, the environment, flags. Each value remembers its origin."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.config.fields import is_optional, section_of, types_of
from optimizer.config.settings import Settings

if TYPE_CHECKING:
    import yaml

Path_ = tuple[str, ...]

# Both spellings of the founding documents. The longer one has to be tried first.
PREFIXES = ("LLM_OPTIMIZER__", "LLM_OPTIMIZER_")
_TABLE = re.compile(r"^\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?")
_KEY = re.compile(r"""^\s*["']?([A-Za-z0-9_.-]+)["']?\s*=""")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
# A settings file is a page or two; what is larger is another file named by mistake.
MAX_FILE_BYTES = 1 << 20


@dataclass(slots=True)
class Layer:
    """Nested values of one source, where each came from, and what could not be read at all."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path_, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, path: Path_, value: object, origin: str) -> None:
        """Set one value, making the sections above it."""
        target = self.values
        for step in path[:-1]:
            below = target.get(step)
            if not isinstance(below, dict):
                below = target[step] = {}
            target = below
        target[path[-1]] = value
        self.origins[path] = origin

    def merge(self, upper: "Layer") -> None:
        """Lay another source over this one: sections merge key by key, everything else is replaced."""
        _merge(self.values, upper.values)
        self.origins.update(upper.origins)
        self.problems.extend(upper.problems)


def read_file(path: Path) -> Layer:
    """The settings of a TOML (.toml) or YAML (.yaml, .yml) file."""
    layer = Layer()
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            layer.problems.append(f"{path}: larger than {MAX_FILE_BYTES} bytes, so hardly a settings file")
            return layer
        text = content.decode("utf-8")
    except OSError as error:
        layer.problems.append(f"{path}: cannot be read: {error.strerror or error}")
        return layer
    except UnicodeDecodeError as error:
        layer.problems.append(f"{path}: not UTF-8 text (byte {error.start})")
        return layer
    kind = path.suffix.lower()
    if kind == ".toml":
        _read_toml(text, path, layer)
    elif kind in {".yaml", ".yml"}:
        _read_yaml(text, path, layer)
    else:
        layer.problems.append(f"{path}: unknown kind of file {kind or '(no extension)'!r}; allowed: .toml, .yaml, .yml")
    return layer


def read_environment(environ: Mapping[str, str]) -> Layer:
    """The settings in `LLM_OPTIMIZER__SECTION__KEY` (or `LLM_OPTIMIZER_SECTION__KEY`) variables.

    Names without a double underscore after the prefix are not ours: the command-line client has LLM_OPTIMIZER_API_URL
    and LLM_OPTIMIZER_API_KEY, and Kubernetes injects LLM_OPTIMIZER_SERVICE_HOST and the like into every container.
    """
    layer = Layer()
    found: dict[Path_, str] = {}
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        path = _path_of(name)
        if path is None:
            continue
        origin = f"environment variable {name}"
        earlier = found.get(path)
        if earlier is not None and environ[earlier] != environ[name]:
            layer.problems.append(f"{origin}: {'.'.join(path)}: {earlier} says something else; keep one of the two")
            continue
        found[path] = name
        try:
            layer.put(path, _parse(path, environ[name]), origin)
        except ValueError as error:
            layer.problems.append(f"{origin}: {'.'.join(path)}: {error}")
    return layer


def read_overrides(overrides: Mapping[str, object]) -> Layer:
    """Settings given as flags: dotted key to value; None means that the flag was not given."""
    layer = Layer()
    for dotted, value in overrides.items():
        if value is not None:
            layer.put(tuple(dotted.split(".")), value, "command line")
    return layer


def _merge(lower: dict[str, Any], upper: Mapping[str, Any]) -> None:
    for name, value in upper.items():
        below = lower.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(below, value)
        else:
            lower[name] = value


def _read_toml(text: str, path: Path, layer: Layer) -> None:
    try:
        layer.values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        layer.problems.append(f"{path}: not valid TOML: {error}")
        return
    table: Path_ = ()
    for number, line in enumerate(text.splitlines(), start=1):
        # A line that looks like a header inside a multi-line string could mislead this: then only the number is off.
        if match := _TABLE.match(line):
            table = tuple(part.strip().strip("\"'") for part in match.group(1).split("."))
            layer.origins.setdefault(table, f"{path} line {number}")
        elif match := _KEY.match(line):
            layer.origins.setdefault((*table, *match.group(1).split(".")), f"{path} line {number}")


def _read_yaml(text: str, path: Path, layer: Layer) -> None:
    import yaml  # most configurations are TOML or none: starting need not pay for this

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        # The problem alone: the full text of the error quotes the line, which may hold a secret.
        layer.problems.append(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}")
        return
    if values is None:
        return
    if not isinstance(values, dict):
        layer.problems.append(f"{path}: expected sections at the top level")
        return
    layer.values = values
    for key_path, line in _lines(node, ()):
        origin = f"{path} line {line}"
        if key_path in layer.origins:
            layer.problems.append(f"{origin}: {'.'.join(key_path)}: given twice, first at {layer.origins[key_path]}")
        layer.origins[key_path] = origin


def _lines(node: "yaml.Node | None", path: Path_) -> Iterable[tuple[Path_, int]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _lines(value, below)


def _path_of(name: str) -> Path_ | None:
    for prefix in PREFIXES:
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            if prefix == PREFIXES[1] and "__" not in rest:
                return None
            path = tuple(part.lower() for part in rest.split("__"))
            return path if all(path) else None
    return None


def _parse(path: Path_, raw: str) -> object:
    """Give an environment string the shape that its setting has; what does not fit is left for validation to name."""
    annotation = _annotation(path)
    if annotation is None:
        return raw
    kinds = types_of(annotation)
    if raw == "" and is_optional(annotation):
        return None
    if section_of(annotation) is not None:
        return _json(raw, dict, "a JSON object")
    if any(getattr(kind, "__origin__", None) is tuple for kind in kinds):
        if raw.lstrip().startswith("["):
            return _json(raw, list, "a JSON list")
        return [part.strip() for part in raw.split(",") if part.strip()]
    if bool in kinds:
        word = raw.strip().lower()
        return word in _TRUE if word in _TRUE | _FALSE else raw
    if int in kinds or float in kinds:
        try:
            return int(raw)
        except ValueError:
            try:
                return float(raw)
            except ValueError:
                return raw
    return raw


def _json(raw: str, kind: type, expected: str) -> object:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, kind):
        return value
    raise ValueError(f"expected {expected}")  # without the cause, which would quote the value


def _annotation(path: Path_) -> Any:
    section: Any = Settings
    annotation: Any = None
    for step in path:
        if section is None or step not in section.model_fields:
            return None
        annotation = section.model_fields[step].annotation
        section = section_of(annotation)
    return annotation
