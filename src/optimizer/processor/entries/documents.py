"""Entries as one document for export and import: JSON, YAML or TOML, with the same keys in each."""

import json
import tomllib
from collections.abc import Iterable

from optimizer.model import InvalidArgument
from optimizer.processor.entries.values import MASK, Draft, Entry

FORMATS = ("json", "yaml", "toml")
FIELDS = ("value", "type", "description", "sensitive", "metadata")


def export_entries(entries: Iterable[Entry], form: str, *, include_sensitive: bool) -> bytes:
    """The document {"entries": {key: {value, type, ...}}}; sensitive values are masked unless asked for."""
    body = {"entries": {entry.key: _plain(entry, include_sensitive) for entry in entries}}
    match _known(form):
        case "json":
            return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()
        case "yaml":
            import yaml

            return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True)).encode()
        case _:
            import tomli_w

            return tomli_w.dumps(body).encode()


def read_entries(data: bytes, form: str) -> list[Draft | InvalidArgument]:
    """Each entry of the document, or what is wrong with it. Raises InvalidArgument when it cannot be read at all."""
    parsed = _parse(data, _known(form))
    entries = parsed.get("entries") if isinstance(parsed, dict) else None
    if not isinstance(entries, dict):
        raise InvalidArgument('the document needs a table "entries" of key and entry', field="config_data")
    return [_draft(str(key), value) for key, value in entries.items()]


def _plain(entry: Entry, include_sensitive: bool) -> dict[str, object]:
    shown = MASK if entry.sensitive and not include_sensitive else entry.value
    return {
        "value": shown,
        "type": entry.type,
        "description": entry.description,
        "sensitive": entry.sensitive,
        "metadata": dict(entry.metadata),
    }


def _known(form: str) -> str:
    form = form.lower() or "json"
    if form not in FORMATS:
        raise InvalidArgument(f"format is one of {', '.join(FORMATS)}", field="format")
    return form


def _parse(data: bytes, form: str) -> object:
    try:
        text = data.decode()
        if form == "json":
            return json.loads(text)
        if form == "toml":
            return tomllib.loads(text)
        import yaml

        parsed: object = yaml.safe_load(text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSON and TOML errors are ValueErrors
        raise InvalidArgument(f"this is no {form} document: {error}", field="config_data") from error
    except yaml.YAMLError as error:
        raise InvalidArgument(f"this is no yaml document: {error}", field="config_data") from error
    return parsed


def _draft(key: str, value: object) -> Draft | InvalidArgument:
    if isinstance(value, str):
        return Draft(key=key, value=value)
    if not isinstance(value, dict) or not isinstance(value.get("value"), str):
        return InvalidArgument("needs a text `value`", field=key)
    unknown = sorted(str(name) for name in value if name not in FIELDS)
    if unknown:
        return InvalidArgument(f"unknown field {unknown[0]!r}", field=key)
    metadata = value.get("metadata") or {}
    kind, description, sensitive = (
        value.get("type", "string"),
        value.get("description", ""),
        value.get("sensitive", False),
    )
    texts = isinstance(metadata, dict) and all(isinstance(each, str) for pair in metadata.items() for each in pair)
    if not (texts and isinstance(kind, str) and isinstance(description, str) and isinstance(sensitive, bool)):
        return InvalidArgument("type and description are texts, sensitive is true or false, metadata texts", field=key)
    return Draft(
        key=key, value=value["value"], type=kind, description=description, sensitive=sensitive, metadata=metadata
    )
