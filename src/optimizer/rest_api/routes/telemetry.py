"""OTLP over HTTP: /v1/traces, /v1/logs and /v1/metrics as OpenTelemetry exporters send them (OTLP specification 1.x).

Answers and failures are protobuf or JSON as the request was. What a sender should try again is 429 or 503 with
Retry-After; everything else is final.
"""

from collections.abc import Awaitable, Callable

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from quart import Response, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector import Intake
from optimizer.collector.otlp import Media, Signal, TooLarge, export, reply_to, unpack
from optimizer.model import OptimizerError
from optimizer.rest_api import problems
from optimizer.rest_api.access import Access
from optimizer.security import Permission

# google.rpc.Code of the answers that are no success.
_CODES = {400: 3, 413: 8, 415: 3, 429: 8, 503: 14}


def add(app: QuartTrio, intake: Slot[Intake], access: Access) -> None:
    """One route for each signal."""
    for signal in Signal:
        handler = access.needs(Permission.OPTIMIZE_EXECUTE)(_handler(signal, intake))
        app.add_url_rule(f"/v1/{signal.value}", f"post_otlp_{signal.value}", handler, methods=["POST"])


def _handler(signal: Signal, intake: Slot[Intake]) -> Callable[[], Awaitable[Response]]:
    async def post() -> Response:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        media = next((known for known in Media if known.value == kind), None)
        if media is None:
            return _failure(Media.JSON, 415, "send application/x-protobuf or application/json")
        raw = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        try:
            body = unpack(raw, request.headers.get("content-encoding", ""))
            return _answer(media, reply_to(signal, await export(intake.get(), signal, body, media)))
        except TooLarge as error:
            return _failure(media, 413, str(error))
        except OptimizerError as error:
            known = problems.of_error(error)
            response = _failure(media, known.status_code, str(error))
            if "Retry-After" in known.headers:
                response.headers["Retry-After"] = known.headers["Retry-After"]
            return response

    return post


def _failure(media: Media, status: int, text: str) -> Response:
    return _answer(media, Status(code=_CODES.get(status, 2), message=text[:500]), status)


def _answer(media: Media, message: Message, status: int = 200) -> Response:
    body = orjson.dumps(MessageToDict(message)) if media is Media.JSON else message.SerializeToString()
    return Response(body, status, content_type=media.value)
