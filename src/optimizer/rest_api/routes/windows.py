"""Windows over a service's calls, over JSON."""

from quart import Response, request
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.core.windows import WindowResult
from optimizer.processor import Processor
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer
from optimizer.rest_api.routes.watching import parse_time, stamp
from optimizer.security import Permission


def add(app: QuartTrio, processor: Slot[Processor], access: Access) -> None:
    """The route for windows."""

    @app.get("/api/v1/services/<service>/windows")
    @access.needs(Permission.METRICS_READ)
    async def list_windows(service: str) -> Response:
        part = processor.get()
        name = part.registry.get(service).name
        since, until = (parse_time(request.args.get(field), field) for field in ("from", "to"))
        found = await part.windows.select(name, since, until)
        late, dropped = part.windows.counts(name)
        return answer({"service": name, "windows": [window(r) for r in found], "late": late, "dropped": dropped})


def window(result: WindowResult) -> dict[str, object]:
    """One window. `error_rate` is that of its calls; a metric that no call reported is not there."""
    metrics = {
        name: {
            "count": found.count,
            "total": found.total,
            "mean": found.mean,
            "deviation": found.deviation,
            "minimum": found.minimum,
            "maximum": found.maximum,
            "p50": found.p50,
            "p95": found.p95,
            "p99": found.p99,
        }
        for name, found in result.metrics.items()
    }
    errors = result.metrics.get("error")
    metrics.pop("error", None)
    return {
        "start": stamp(result.start),
        "end": stamp(result.end),
        "final": result.reason != "open",
        "revision": result.revision,
        "calls": result.events,
        "error_rate": None if errors is None else errors.mean,
        "metrics": metrics,
    }
