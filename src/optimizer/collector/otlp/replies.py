"""The answer to an export, the same over HTTP and gRPC."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from optimizer.collector.otlp.export import Outcome
from optimizer.collector.otlp.payloads import Signal

Reply = ExportTraceServiceResponse | ExportLogsServiceResponse | ExportMetricsServiceResponse


def reply_to(signal: Signal, outcome: Outcome) -> Reply:
    """The answer to an export, with what was refused and why."""
    if signal is Signal.TRACES:
        traces = ExportTraceServiceResponse()
        if outcome.message:
            traces.partial_success.rejected_spans = outcome.refused
            traces.partial_success.error_message = outcome.message
        return traces
    if signal is Signal.LOGS:
        logs = ExportLogsServiceResponse()
        if outcome.message:
            logs.partial_success.rejected_log_records = outcome.refused
            logs.partial_success.error_message = outcome.message
        return logs
    metrics = ExportMetricsServiceResponse()
    if outcome.message:
        metrics.partial_success.rejected_data_points = outcome.refused
        metrics.partial_success.error_message = outcome.message
    return metrics
