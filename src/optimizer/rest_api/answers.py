"""Reading JSON bodies and writing JSON answers."""

import orjson
from quart import Response, request

from optimizer.model import InvalidArgument

JSON = "application/json"


async def body() -> object:
    """The request's JSON. Raises InvalidArgument for anything that is not one JSON document in UTF-8."""
    raw = await request.get_data(cache=False, as_text=False)
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from error
    return parsed


async def mapping() -> dict[str, object]:
    """The request's JSON object."""
    parsed = await body()
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body is not a JSON object")
    return parsed


async def items(name: str) -> list[object]:
    """The list under `name` of the request's JSON object; any other key is refused."""
    parsed = await mapping()
    found = parsed.get(name)
    if not isinstance(found, list):
        raise InvalidArgument(f"the body needs a list {name!r}", field=name)
    unknown = sorted(set(parsed) - {name})
    if unknown:
        raise InvalidArgument(f"unknown key {unknown[0]!r}; only {name!r} is known", field=unknown[0])
    return found


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status, content_type=JSON)
