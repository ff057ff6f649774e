"""Drift of everything that calls report, for every service and variant, in bounded memory."""

from collections.abc import Iterator
from math import isfinite
from typing import Final

import msgspec

from optimizer.core.drift.fingerprint import FingerprintDetector
from optimizer.core.drift.numeric import RankDetector, ShareDetector
from optimizer.core.drift.scan import Shift
from optimizer.core.drift.values import DriftAlert, DriftSettings, Metric
from optimizer.model import FeedbackEvent

MAX_STREAMS: Final = 10_000
"""Streams watched at once (about 10 kB each when busy); the one unused longest gives way, which is counted."""

_HARMFUL: Final[dict[Metric, int | None]] = {
    "quality": -1,
    "error_rate": 1,
    "latency_ms": 1,
    "cost_usd": 1,
    "input_tokens": None,
    "output_tokens": None,
}


class StreamDetectors(msgspec.Struct, array_like=True):
    """The detectors of one stream, each made when its metric is first reported."""

    shares: dict[Metric, ShareDetector] = {}
    ranks: dict[Metric, RankDetector] = {}
    fingerprint: FingerprintDetector | None = None


class DriftMonitor(msgspec.Struct):
    """The whole state of drift detection; encode and decode it with msgspec, and it goes on where it was.

    One stream is one (service, variant, segment): a policy that sends a variant other work must not look like a change
    of the variant, so callers that route by segment pass it.
    """

    settings: DriftSettings = DriftSettings()
    streams: dict[str, StreamDetectors] = {}
    evicted: int = 0
    gone: list[str] = []

    def observe(self, event: FeedbackEvent, segment: str = "") -> list[DriftAlert]:
        """Count one finished call. Latency, cost and tokens are those of calls that succeeded."""
        stream = (event.service, event.variant or "", segment)
        detectors = self._detectors(stream)
        time = event.occurred_at
        alerts = [
            self._alert(stream, metric, value, time, shift)
            for metric, value in _measures(event)
            if (shift := self._add(detectors, metric, value, time)) is not None
        ]
        if event.response_model is not None:
            if detectors.fingerprint is None:
                detectors.fingerprint = FingerprintDetector(self.settings.average_run_length)
            found = detectors.fingerprint.add(event.response_model, time)
            if found is not None:
                category, shift = found
                alerts.append(self._alert(stream, "response_model", 1.0, time, shift, category))
        return alerts

    def observe_value(
        self, service: str, variant: str, metric: Metric, value: float, time: int, segment: str = ""
    ) -> DriftAlert | None:
        """Count one value that came apart from its call, such as a quality score given later.

        ValueError for one that is no number, or for a quality or error rate outside [0, 1].
        """
        if not isfinite(value) or (metric in ("quality", "error_rate") and not 0.0 <= value <= 1.0):
            raise ValueError(f"{metric} cannot be {value!r}")
        stream = (service, variant, segment)
        shift = self._add(self._detectors(stream), metric, value, time)
        return None if shift is None else self._alert(stream, metric, value, time, shift)

    def forget(self, service: str, variant: str, segment: str = "") -> None:
        """Start over on one stream: its configuration was changed on purpose."""
        self.streams.pop(_key((service, variant, segment)), None)

    def take_gone(self) -> list[str]:
        """The keys of streams that gave way since the last call, for callers that store streams one by one."""
        gone, self.gone = self.gone, []
        return gone

    def _detectors(self, stream: tuple[str, str, str]) -> StreamDetectors:
        key = _key(stream)
        found = self.streams.pop(key, None)
        if found is None:
            found = StreamDetectors()
            if len(self.streams) >= MAX_STREAMS:
                oldest = next(iter(self.streams))
                del self.streams[oldest]
                self.gone.append(oldest)
                del self.gone[:-MAX_STREAMS]  # nobody may be taking them
                self.evicted += 1
        self.streams[key] = found  # last in the order: used most recently
        return found

    def _add(self, detectors: StreamDetectors, metric: Metric, value: float, time: int) -> Shift | None:
        if metric in ("quality", "error_rate"):
            share = detectors.shares.get(metric)
            if share is None:
                harmful = -1 if metric == "quality" else 1
                share = detectors.shares[metric] = ShareDetector.watching(self.settings, harmful)
            return share.add(value, time)
        rank = detectors.ranks.get(metric)
        if rank is None:
            rank = detectors.ranks[metric] = RankDetector.watching(self.settings, _HARMFUL[metric])
        return rank.add(value, time)

    def _alert(
        self,
        stream: tuple[str, str, str],
        metric: Metric,
        value: float,
        time: int,
        shift: Shift,
        category: str | None = None,
    ) -> DriftAlert:
        harmful = _HARMFUL.get(metric)
        return DriftAlert(
            service=stream[0],
            variant=stream[1],
            segment=stream[2],
            metric=metric,
            timestamp=time,
            value=value,
            direction="up" if shift.direction > 0 else "down",
            harmful=harmful is None or harmful == shift.direction,
            changed_at=shift.changed_at,
            before=shift.raw_before,
            after=shift.raw_after,
            events_before=shift.events_before,
            events_after=shift.events_after,
            evidence=shift.evidence,
            average_run_length=self.settings.average_run_length,
            category=category,
        )


def _measures(event: FeedbackEvent) -> Iterator[tuple[Metric, float]]:
    """The numbers that one call reports; what is unknown, or no number, is not counted."""
    if event.quality is not None and 0.0 <= event.quality <= 1.0:
        yield "quality", event.quality
    failed = event.error_type is not None
    yield "error_rate", float(failed)
    if failed:
        return
    if event.latency_ms is not None and isfinite(event.latency_ms):
        yield "latency_ms", event.latency_ms
    if event.cost_usd is not None and event.cost_usd.is_finite():
        yield "cost_usd", float(event.cost_usd)
    if event.input_tokens is not None:
        yield "input_tokens", float(event.input_tokens)
    if event.output_tokens is not None:
        yield "output_tokens", float(event.output_tokens)


def _key(stream: tuple[str, str, str]) -> str:
    return "\x1f".join(stream)
