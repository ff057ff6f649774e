"""Intake over JSON: finished calls, scores, points of any series. The answer is sent after the durable append."""

from quart import Response
from quart_trio import QuartTrio

from optimizer.bus import Slot
from optimizer.collector import Intake, Receipt
from optimizer.rest_api.access import Access
from optimizer.rest_api.answers import answer, items
from optimizer.security import Permission


def add(app: QuartTrio, intake: Slot[Intake], access: Access) -> None:
    """Routes for feedback, scores and metrics."""

    @app.post("/api/v1/feedback")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def post_feedback() -> Response:
        return answer(_receipt(await intake.get().feedback(await items("events"))))

    @app.post("/api/v1/scores")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def post_scores() -> Response:
        return answer(_receipt(await intake.get().scores(await items("scores"))))

    @app.post("/api/v1/metrics")
    @access.needs(Permission.OPTIMIZE_EXECUTE)
    async def post_metrics() -> Response:
        return answer(_receipt(await intake.get().metrics(await items("metrics"))))


def _receipt(receipt: Receipt) -> dict[str, object]:
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": [{"index": r.index, "field": r.field, "error": r.error} for r in receipt.rejected],
    }
