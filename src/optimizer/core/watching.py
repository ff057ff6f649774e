"""Watching the log: drift of what calls report, anomalies of metric series, both as alerts. A pure fold of its own.

An alert's id follows from what raised it, so that folding the same record again raises the same alert.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from optimizer.core import records
from optimizer.core.anomaly import AnomalyAlert, AnomalyMonitor, SeriesState, series_key
from optimizer.core.assignment import parse
from optimizer.core.drift import DriftAlert, DriftMonitor
from optimizer.core.drift.monitor import StreamDetectors
from optimizer.core.segments import segment_of
from optimizer.model import Alert, FeedbackEvent, InvalidArgument, MetricSample, Service

PREFIX = "watch/"
SERVICES = "watch/service/"
STREAMS = "watch/stream/"
SERIES = "watch/series/"
NAMES = "watch/name/"
SEPARATOR = "\x1f"

MAX_NAMES = 10_000
"""Metric names that `Watch.seen` tells of, about 200 bytes each; the one without a sample for longest gives way."""

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_service = msgspec.msgpack.Decoder(Service)
_stream = msgspec.msgpack.Decoder(tuple[str, StreamDetectors])
_series = msgspec.msgpack.Decoder(tuple[str, SeriesState])


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """How many samples of a metric name were folded, the newest event time, and the log offset of the last one."""

    name: str
    samples: int
    last_timestamp: int
    offset: int = 0


_seen = msgspec.msgpack.Decoder(Seen)


class Watch:
    """The state of every detector as of log offset `cursor`; what changed since the snapshot is in `changes`."""

    def __init__(self) -> None:
        self.cursor = 0
        self.drift = DriftMonitor(streams={})
        self.anomalies = AnomalyMonitor()
        self.services: dict[str, Service] = {}
        self.seen: dict[str, Seen] = {}  # the name used longest ago first
        self.names_gone = 0  # names that gave way since this process started
        self.changes: set[tuple[str, str]] = set()

    def apply(self, offset: int, kind: str, payload: bytes) -> list[Alert]:
        """Fold one record; the alerts that it raises."""
        self.cursor = offset
        if kind == records.FEEDBACK:
            return self._call(records.decode_feedback(payload))
        if kind == records.METRIC:
            return self._sample(records.decode_metric(payload))
        if kind == records.SERVICE:
            self._declared(records.decode_declared(payload))
        return []

    def _call(self, event: FeedbackEvent) -> list[Alert]:
        service = self.services.get(event.service)
        if service is None:
            return []
        variant, segment = event.variant, None
        if event.assignment_id is not None:
            try:
                ref = parse(event.assignment_id)
            except InvalidArgument:
                return []  # the intake refuses such ids; a log written before a format change may hold one
            segment = ref.segment
            if variant is None and ref.variant < len(service.variants):
                variant = service.variants[ref.variant].name
        if segment is None:
            segment = segment_of(service, event.context)
        if variant != event.variant:
            event = msgspec.structs.replace(event, variant=variant)
        self.changes.add((STREAMS, SEPARATOR.join((event.service, variant or "", segment))))
        alerts = [of_drift(found) for found in self.drift.observe(event, segment)]
        self.changes |= {(STREAMS, key) for key in self.drift.take_gone()}
        return alerts

    def _sample(self, sample: MetricSample) -> list[Alert]:
        before = self.seen.pop(sample.name, None)
        if before is None and len(self.seen) >= MAX_NAMES:
            oldest = next(iter(self.seen))
            del self.seen[oldest]
            self.changes.add((NAMES, oldest))
            self.names_gone += 1
        newest = sample.timestamp if before is None else max(before.last_timestamp, sample.timestamp)
        samples = 1 if before is None else before.samples + 1
        self.seen[sample.name] = Seen(sample.name, samples, newest, self.cursor)
        self.changes |= {(NAMES, sample.name), (SERIES, series_key(sample))}
        found = self.anomalies.observe(sample)
        self.changes |= {(SERIES, key) for key in self.anomalies.take_gone()}
        # That a series is normal again is no point at which anything went wrong: only anomalies are alerts.
        return [of_anomaly(found)] if found is not None and found.kind == "anomaly" else []

    def _declared(self, declared: records.Declared) -> None:
        name, service = declared.name, declared.service
        before = self.services.get(name)
        self.changes.add((SERVICES, name))
        if service is None:
            self.services.pop(name, None)
        else:
            self.services[name] = service
        old = {} if before is None else {v.name: v.config for v in before.variants}
        new = {} if service is None else {v.name: v.config for v in service.variants}
        moved = {v for v, config in old.items() if new.get(v) != config}  # changed on purpose: not a drift
        for key in [k for k in self.drift.streams if tuple(k.split(SEPARATOR)[:2]) in {(name, v) for v in moved}]:
            del self.drift.streams[key]
            self.changes.add((STREAMS, key))

    def documents(self) -> Iterator[tuple[str, bytes | None]]:
        """Key and body of every document that changed; None as body: the document goes."""
        for kind, name in sorted(self.changes):
            yield kind + key_of(name), self._body(kind, name)

    def _body(self, kind: str, name: str) -> bytes | None:
        if kind == SERVICES:
            return _encode(self.services[name]) if name in self.services else None
        if kind == NAMES:
            return _encode(self.seen[name]) if name in self.seen else None
        if kind == STREAMS:
            return _encode((name, self.drift.streams[name])) if name in self.drift.streams else None
        state = self.anomalies.series_state(name)
        return None if state is None else _encode((name, state))


def restore_watch(cursor: int, documents: Iterable[tuple[str, bytes]]) -> Watch:
    """The watch whose documents these are, as of log offset `cursor`."""
    watch = Watch()
    watch.cursor = cursor
    names: list[Seen] = []
    for key, body in documents:
        if key.startswith(SERVICES):
            service = _service.decode(body)
            watch.services[service.name] = service
        elif key.startswith(NAMES):
            names.append(_seen.decode(body))
        elif key.startswith(STREAMS):
            name, detectors = _stream.decode(body)
            watch.drift.streams[name] = detectors
        elif key.startswith(SERIES):
            watch.anomalies.restore_series(*_series.decode(body))
    watch.seen = {seen.name: seen for seen in sorted(names, key=lambda seen: seen.offset)}
    return watch


def key_of(name: str) -> str:
    """A document key for a name of any length and content."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def of_drift(found: DriftAlert) -> Alert:
    """The alert of a change without a deploy."""
    what = found.category or f"{found.before:.4g} to {found.after:.4g}"
    where = f"{found.variant or 'calls without a variant'} in {found.segment}"
    return Alert(
        alert_id=key_of(f"drift/{found.service}/{where}/{found.metric}/{found.timestamp}/{found.direction}"),
        alert_type="drift",
        severity="error" if found.harmful else "info",
        metric=found.metric,
        at=found.timestamp,
        value=found.value,
        title=f"{found.metric} of {where} went {found.direction} without a deploy: {what}",
        description=(
            f"Mean {found.before:.6g} over {found.events_before} calls, {found.after:.6g} over the "
            f"{found.events_after} calls since; evidence {found.evidence:.1f} nats; "
            f"at most one false alarm in {found.average_run_length:.0f} calls on average"
        ),
        service=found.service,
        metadata={
            "variant": found.variant,
            "segment": found.segment,
            "changed_at": str(found.changed_at),
            "harmful": str(found.harmful).lower(),
        },
    )


def of_anomaly(found: AnomalyAlert) -> Alert:
    """The alert of a series that does what it never did."""
    tags = ",".join(f"{k}={v}" for k, v in sorted(found.tags.items()))
    return Alert(
        alert_id=key_of(f"{found.kind}/{found.metric}/{tags}/{found.timestamp}/{found.signal}"),
        alert_type=found.kind,
        severity=found.severity,
        metric=found.metric,
        at=found.timestamp,
        value=found.value,
        title=f"{found.metric}: {found.signal} is unusual",
        description=(
            f"Observed {found.observed:.6g}, expected {found.expected:.6g}, {found.deviations:.1f} deviations, "
            f"{found.score:.2f} times the limit in force"
        ),
        metadata=dict(found.tags),
    )
