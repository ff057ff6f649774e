"""JSON values: Python's own here, google.protobuf.Struct on the wire.

A Struct knows one kind of number; one without a fraction is an integer here, as JSON clients write it.
"""

from collections.abc import Mapping
from decimal import Decimal

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

DEEPEST = 32


def from_struct(struct: Struct) -> dict[str, object]:
    """The object as plain values."""
    return {name: from_value(value) for name, value in struct.fields.items()}


def from_value(value: Value) -> object:
    """The plain value; a Value without a kind is null."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            # Up to 2**53 every integer has its own double.
            return int(number) if number.is_integer() and abs(number) <= 2**53 else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(each) for each in value.list_value.values]
        case _:
            return None


def to_struct(values: Mapping[str, object]) -> Struct:
    """The object as a Struct."""
    return Struct(fields={name: to_value(value, 0) for name, value in values.items()})


def to_value(value: object, depth: int) -> Value:
    """The value; Decimals become text, what JSON has no word for becomes its text."""
    if depth > DEEPEST:
        raise ValueError(f"a value is nested deeper than {DEEPEST} levels")
    match value:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=value)
        case Decimal():
            return Value(string_value=format(value, "f"))
        case Mapping():
            fields = {str(name): to_value(each, depth + 1) for name, each in value.items()}
            return Value(struct_value=Struct(fields=fields))
        case list() | tuple():
            return Value(list_value=ListValue(values=[to_value(each, depth + 1) for each in value]))
        case _:
            return Value(string_value=str(value))
