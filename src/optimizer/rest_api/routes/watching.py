"""What the watcher found, over JSON: alerts, and how far a metric series has been judged."""

from datetime import UTC, datetime

from quart import Response, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector.schema import micros
from optimizer.model import Alert, InvalidArgument
from optimizer.processor import Processor
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer
from optimizer.security import Permission

MOST = 10_000


def add(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    """Routes for alerts and series."""

    @app.get("/api/v1/alerts")
    @access.needs(Permission.METRICS_READ)
    async def list_alerts() -> Response:
        part = processor.get()
        await part.watcher.fresh()
        found = await part.alerts.select(
            service=request.args.get("service"),
            metric=request.args.get("metric"),
            since=parse_time(request.args.get("since"), "since"),
            limit=MOST,
        )
        return answer({"alerts": [_alert(alert) for alert in found]})

    @app.get("/api/v1/metrics/<name>/status")
    @access.needs(Permission.METRICS_READ)
    async def metric_status(name: str) -> Response:
        seen = processor.get().watcher.seen(name)
        last = None if seen is None else stamp(seen.last_timestamp)
        return answer({"name": name, "samples": 0 if seen is None else seen.samples, "last_timestamp": last})


def stamp(moment: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment / 1e6, UTC).isoformat()


def parse_time(text: str | None, field: str) -> int | None:
    """A time in ISO 8601 (UTC when it says no zone) as microseconds since 1970. Raises InvalidArgument."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument(f"{text!r} is not a time in ISO 8601", field=field) from error
    return micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _alert(alert: Alert) -> dict[str, object]:
    return {
        "alert_id": alert.alert_id,
        "alert_type": alert.alert_type,
        "severity": alert.severity,
        "service": alert.service,
        "metric": alert.metric,
        "timestamp": stamp(alert.at),
        "value": alert.value,
        "title": alert.title,
        "description": alert.description,
        "metadata": alert.metadata,
    }
