"""FeedbackService: finished calls and judgements, acknowledged when durable."""

from datetime import datetime, timedelta
from typing import Any

import trio

from optimizer.collector import Receipt
from optimizer.grpc_api.convert.feedback import EPOCH, from_feedback, from_score
from optimizer.grpc_api.handling import Call, unary
from optimizer.grpc_api.pb import feedback_pb2 as pb
from optimizer.grpc_api.pb.feedback_grpc import FeedbackServiceBase
from optimizer.grpc_api.rooms import Rooms
from optimizer.grpc_api.streams.subscriptions import call_accepted
from optimizer.grpc_api.streams.upload import Upload

REJECTIONS = 1_000


class FeedbackService(FeedbackServiceBase):
    """One intake for all protocols; here it is fed from unary batches and from streams."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @unary
    async def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, call: Call[Any, Any]
    ) -> pb.RecordFeedbackResponse:
        """See the proto."""
        now = self._now()
        receipt = await self._rooms.intake.get().feedback([from_feedback(event, now) for event in request.events])
        return pb.RecordFeedbackResponse(
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=to_rejections(receipt)[:REJECTIONS],
            rejected_total=len(receipt.rejected),
        )

    @unary
    async def RecordScores(self, request: pb.RecordScoresRequest, call: Call[Any, Any]) -> pb.RecordScoresResponse:
        """See the proto."""
        now = self._now()
        receipt = await self._rooms.intake.get().scores([from_score(score, now) for score in request.scores])
        return pb.RecordScoresResponse(
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=to_rejections(receipt)[:REJECTIONS],
        )

    async def UploadFeedback(self, stream: Call[pb.RecordFeedbackRequest, pb.RecordFeedbackResponse]) -> None:
        """See the proto."""
        upload = self._upload()
        rejected: list[pb.Rejection] = []

        async def keep(progress: pb.FeedbackProgress) -> None:
            await trio.lowlevel.checkpoint()
            rejected.extend(progress.rejected[: REJECTIONS - len(rejected)])

        last = await upload.run(stream, keep)
        await stream.send_message(
            pb.RecordFeedbackResponse(
                accepted=last.accepted,
                duplicates=last.duplicates,
                rejected=rejected,
                rejected_total=last.rejected_total,
            )
        )

    async def StreamFeedback(self, stream: Call[pb.RecordFeedbackRequest, pb.FeedbackProgress]) -> None:
        """See the proto."""
        await call_accepted(stream)
        await self._upload().run(stream, stream.send_message)

    def _upload(self) -> Upload:
        return Upload(self._rooms.intake.get, self._now, self._rooms.settings.get().limits.batch_events)

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._rooms.now())


def to_rejections(receipt: Receipt, before: int = 0) -> list[pb.Rejection]:
    """What was refused, on the wire; `before` items came earlier."""
    return [
        pb.Rejection(index=before + rejection.index, field=rejection.field or "", error=rejection.error)
        for rejection in receipt.rejected
    ]
