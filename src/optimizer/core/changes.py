"""Changes of a configuration: their texts, what they lead to, and which lead from one configuration to another."""

import json
from collections.abc import Mapping

from optimizer.model import ParameterChange


def value_of(text: str) -> object:
    """The JSON value of a change's text, or the text itself when it is no JSON."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def text_of(value: object) -> str:
    """The text of a configuration value, so that `value_of` gives it back; plain text stays plain."""
    if isinstance(value, str) and value_of(value) == value:
        return value
    return json.dumps(value, sort_keys=True)


def apply_changes(config: Mapping[str, object], changes: tuple[ParameterChange, ...]) -> dict[str, object]:
    """The configuration with the changes made."""
    changed = dict(config)
    for change in changes:
        if change.change_type == "remove":
            changed.pop(change.parameter, None)
        else:
            changed[change.parameter] = value_of(change.new_value)
    return changed


def changes_from(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[ParameterChange, ...]:
    """The changes that lead from one configuration to the other, in parameter order."""
    found: list[ParameterChange] = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(ParameterChange(parameter=name, old_value=text_of(before[name]), change_type="remove"))
        elif name not in before:
            found.append(ParameterChange(parameter=name, new_value=text_of(after[name]), change_type="add"))
        elif before[name] != after[name]:
            old, new = text_of(before[name]), text_of(after[name])
            found.append(ParameterChange(parameter=name, old_value=old, new_value=new, change_type="replace"))
    return tuple(found)
