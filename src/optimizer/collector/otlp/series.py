"""From OTLP metrics to samples of numeric series.

A gauge or sum gives one sample for each data point; a histogram or summary gives `<name>.count` and `<name>.sum` and,
where they are told, `.min`, `.max` and quantiles (tag `quantile`). Values stay as they were sent: whether a sum is
cumulative is the tag `temporality`.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags

from optimizer.collector.otlp.values import read_attributes
from optimizer.core.dialects.spans import clean, plain
from optimizer.model import InvalidArgument, MetricSample

TAGS = 15  # one less than a series may have: a quantile takes another
_UNKNOWN = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,240}$")


def count_points(metric: Any) -> int:
    """The data points of a metric."""
    kind = metric.WhichOneof("data")
    return 0 if kind is None else len(getattr(metric, kind).data_points)


def read_points(
    metric: Any, resource: dict[str, object], *, received_at: int
) -> Iterator[list[MetricSample] | InvalidArgument]:
    """For each data point its samples, or why it is refused."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    common: dict[str, str] = {}
    if isinstance(service := resource.get("service.name"), str) and service:
        common["service"] = clean(service, 256)
    if kind == "sum" and data.aggregation_temporality == _CUMULATIVE:
        common["temporality"] = "cumulative"
    for point in data.data_points:
        try:
            if not _NAME.match(metric.name):
                raise InvalidArgument("the metric's name is empty, too long or has odd characters", field="name")
            yield _samples(metric, kind, point, common, received_at)
        except InvalidArgument as error:
            yield error


def _samples(metric: Any, kind: str, point: Any, common: dict[str, str], received_at: int) -> list[MetricSample]:
    if point.flags & _UNKNOWN:
        return []  # the sender says that there is no value
    time = point.time_unix_nano // 1000
    if not time:
        raise InvalidArgument("a data point without a time", field="timeUnixNano")
    tags = dict(common)
    for name, value in sorted(read_attributes(point.attributes, len(point.attributes)).items()):
        if len(tags) >= TAGS:
            break
        text = plain(value, 256)
        if text is not None and name:
            tags[clean(name, 128)] = str(text)
    unit = clean(metric.unit, 64) or None

    def sample(suffix: str, value: float, **extra: str) -> MetricSample:
        if not math.isfinite(value) or abs(value) > 1e300:
            raise InvalidArgument("a value that is not a finite number", field="value")
        name = metric.name + suffix
        return MetricSample(
            name=name, value=value, timestamp=time, received_at=received_at, unit=unit, tags={**tags, **extra}
        )

    if kind in ("gauge", "sum"):
        which = point.WhichOneof("value")
        if which is None:
            raise InvalidArgument("a data point without a value", field="value")
        return [sample("", float(getattr(point, which)))]
    found = [sample(".count", float(point.count))]
    if kind == "summary" or point.HasField("sum"):
        found.append(sample(".sum", point.sum))
    if kind == "summary":
        return found + [sample("", each.value, quantile=f"{each.quantile:g}") for each in point.quantile_values[:32]]
    return found + [sample(f".{name}", getattr(point, name)) for name in ("min", "max") if point.HasField(name)]
