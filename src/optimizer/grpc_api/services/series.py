"""The part of MetricsService about recorded series: points, aggregates, queries, export, recording."""

import csv
import io
import json
from typing import Any

from optimizer.collector import Receipt
from optimizer.core.history import History, Series, evaluate, parse_query, parse_step
from optimizer.core.history.answers import exact_quantile, points_in
from optimizer.core.history.periods import overlaps
from optimizer.grpc_api.convert import from_time_range, partial, success, to_time
from optimizer.grpc_api.handling import Call, unary
from optimizer.grpc_api.pb import metrics_pb2 as pb
from optimizer.grpc_api.pb.common_pb2 import ErrorDetail
from optimizer.grpc_api.rooms import Rooms
from optimizer.model import InvalidArgument

POINTS = 100_000
"""Points in one answer, about 4 MB: what gRPC clients accept by default."""
HOUR = 3_600_000_000
PERCENTILES = (50, 90, 95, 99)
ERRORS = 1_000
FORMATS = ("json", "csv")


class SeriesMethods:
    """Answers from the recorded series."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def history(self) -> History:
        """The history with everything that was durable when asked."""
        return await self._rooms.processor.get().chronicle.fresh()

    @unary
    async def GetMetrics(self, request: pb.GetMetricsRequest, call: Call[Any, Any]) -> pb.GetMetricsResponse:
        """Without an aggregation the single points that are kept (500 per series); with one a point per series."""
        start, end = from_time_range(request)
        found = select(await self.history(), request)
        points: list[pb.MetricPoint] = []
        for series in found:
            if request.aggregation == pb.AGGREGATION_TYPE_UNSPECIFIED:
                points += [to_point(series, at, value) for at, value in points_in(series, start, end)]
            else:
                points += aggregated(series, request.aggregation, start, end)
            if len(points) > POINTS:
                raise InvalidArgument(f"more than {POINTS} points: take a shorter range or an aggregation")
        missing = sorted(set(request.metric_names) - {series.name for series in found})
        status = partial(f"never recorded: {', '.join(missing)[:1000]}") if missing else success()
        return pb.GetMetricsResponse(metrics=points, status=status)

    @unary
    async def QueryMetrics(self, request: pb.QueryMetricsRequest, call: Call[Any, Any]) -> pb.QueryMetricsResponse:
        """See docs/api.md for the language. Without a range the last hour, without a step a minute."""
        query, step = parse_query(request.query), parse_step(request.step, 60_000_000)
        start, end = from_time_range(request)
        end = self._rooms.now() if end is None else end
        start = end - HOUR if start is None else start
        points = evaluate(await self.history(), query, start, end, step)
        results = [
            pb.MetricPoint(name=query.name, value=point.value, timestamp=to_time(point.at), tags=dict(point.tags))
            for point in points
        ]
        return pb.QueryMetricsResponse(results=results, status=success())

    @unary
    async def ExportMetrics(self, request: pb.ExportMetricsRequest, call: Call[Any, Any]) -> pb.ExportMetricsResponse:
        """The single points that are kept, by series and time."""
        form = request.format.lower() or "json"
        if form not in FORMATS:
            raise InvalidArgument(f"format is one of {', '.join(FORMATS)}", field="format")
        start, end = from_time_range(request)
        rows = [
            {"name": s.name, "tags": dict(s.tags), "unit": s.unit, "timestamp": iso(at), "value": value}
            for s in select(await self.history(), request)
            for at, value in points_in(s, start, end)
        ]
        if len(rows) > POINTS:
            raise InvalidArgument(f"more than {POINTS} points: take a shorter range")
        data = json.dumps({"metrics": rows}).encode() if form == "json" else to_csv(rows)
        return pb.ExportMetricsResponse(data=data, format=form, status=success(f"{len(rows)} points"))

    async def RecordMetrics(self, stream: Call[pb.RecordMetricsRequest, pb.RecordMetricsResponse]) -> None:
        """See the proto. Each message is one batch; what a bad point is refused for is said, the rest is kept."""
        recorded, failed, errors = 0, 0, []
        async for request in stream:
            receipt = await self._rooms.intake.get().metrics([from_point(point) for point in request.metrics])
            errors += _errors(receipt, recorded + failed)
            recorded += receipt.accepted
            failed += len(receipt.rejected)
        status = partial(f"{failed} points were refused") if failed else success()
        status.errors.extend(errors[:ERRORS])
        await stream.send_message(pb.RecordMetricsResponse(recorded=recorded, failed=failed, status=status))


def select(history: History, request: pb.GetMetricsRequest | pb.ExportMetricsRequest) -> list[Series]:
    """The series that pass the request's filters: names, the tag "service", other tags."""
    names, services = frozenset(request.metric_names), frozenset(request.services)
    tags = dict(request.tag_filters) if isinstance(request, pb.GetMetricsRequest) else {}
    return [
        series
        for series in history.series.select(None, tags)
        if (not names or series.name in names) and (not services or dict(series.tags).get("service") in services)
    ]


def aggregated(series: Series, kind: pb.AggregationType, start: int | None, end: int | None) -> list[pb.MetricPoint]:
    """One point for the whole range, none when it has no data. Old periods count whole when they overlap the range."""
    values = [value for _, value in points_in(series, start, end)]
    older = [sums for period, sums in series.older.items() if overlaps(period, start, end)]
    count = len(values) + sum(sums.count for sums in older)
    if not count:
        return []
    total = sum(values) + sum(sums.total for sums in older)
    least = min([*values, *(sums.least for sums in older)])
    most = max([*values, *(sums.most for sums in older)])
    percentiles = [pb.Percentile(percentile=p, value=exact_quantile(values, p / 100)) for p in PERCENTILES]
    if older:
        percentiles = []  # of old points only sums are kept
    value = {
        pb.AGGREGATION_TYPE_SUM: total,
        pb.AGGREGATION_TYPE_AVERAGE: total / count,
        pb.AGGREGATION_TYPE_MIN: least,
        pb.AGGREGATION_TYPE_MAX: most,
        pb.AGGREGATION_TYPE_COUNT: float(count),
        pb.AGGREGATION_TYPE_HISTOGRAM: total / count,
        pb.AGGREGATION_TYPE_PERCENTILE: percentiles[0].value if percentiles else float("nan"),
    }.get(kind)
    if value is None:
        raise InvalidArgument(f"{kind} is not an aggregation", field="aggregation")
    sums = pb.MetricAggregation(
        aggregation_type=kind, count=count, sum=total, min=least, max=most, percentiles=percentiles
    )
    point = to_point(series, series.newest, value)
    point.aggregation.CopyFrom(sums)
    return [point]


def to_point(series: Series, at: int, value: float) -> pb.MetricPoint:
    """One point of a series on the wire."""
    return pb.MetricPoint(
        name=series.name, value=value, unit=series.unit or "", timestamp=to_time(at), tags=dict(series.tags)
    )


def from_point(point: pb.MetricPoint) -> dict[str, object]:
    """A point as the intake takes it. Aggregated points are refused: they are no measurement."""
    item: dict[str, object] = {"name": point.name, "value": point.value, "tags": dict(point.tags)}
    if point.unit:
        item["unit"] = point.unit
    if point.HasField("timestamp"):
        item["timestamp"] = iso(point.timestamp.seconds * 1_000_000 + point.timestamp.nanos // 1_000)
    if point.HasField("aggregation"):
        item["aggregation"] = None
    return item


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """Rows as RFC 4180 text; tags as one JSON column."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["name", "timestamp", "value", "unit", "tags"])
    for row in rows:
        tags = json.dumps(row["tags"], sort_keys=True)
        writer.writerow([row["name"], row["timestamp"], repr(row["value"]), row["unit"] or "", tags])
    return text.getvalue().encode()


def iso(moment: int) -> str:
    """The moment as RFC 3339 text in UTC; text that no reader takes when it lies outside the years 1 to 9999."""
    from datetime import UTC, datetime, timedelta

    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).isoformat()
    except OverflowError:
        return f"out of range: {moment}"


def _errors(receipt: Receipt, before: int) -> list[ErrorDetail]:
    return [
        ErrorDetail(
            code="INVALID_ARGUMENT",
            message=rejection.error,
            field=rejection.field or "",
            metadata={"index": str(before + rejection.index)},
        )
        for rejection in receipt.rejected
    ]
