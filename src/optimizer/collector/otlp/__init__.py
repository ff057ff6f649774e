"""OTLP: what OpenTelemetry exporters send, read into calls, scores and metric samples."""

from optimizer.collector.otlp.compression import TooLarge as TooLarge
from optimizer.collector.otlp.compression import unpack as unpack
from optimizer.collector.otlp.export import Outcome as Outcome
from optimizer.collector.otlp.export import export as export
from optimizer.collector.otlp.payloads import Media as Media
from optimizer.collector.otlp.payloads import Signal as Signal
from optimizer.collector.otlp.replies import reply_to as reply_to
