"""Logging, the metrics registry and its endpoint, tracing and resource sampling."""

from optimizer.observability.endpoint import Answer as Answer
from optimizer.observability.endpoint import EndpointLimits as EndpointLimits
from optimizer.observability.endpoint import Listen as Listen
from optimizer.observability.endpoint import Route as Route
from optimizer.observability.endpoint import listen_tcp as listen_tcp
from optimizer.observability.endpoint import port_of as port_of
from optimizer.observability.endpoint import serve_endpoint as serve_endpoint
from optimizer.observability.logs import LineList as LineList
from optimizer.observability.logs import LineSink as LineSink
from optimizer.observability.logs import LineWriter as LineWriter
from optimizer.observability.logs import LogControl as LogControl
from optimizer.observability.logs import open_logging as open_logging
from optimizer.observability.metrics import Metrics as Metrics
from optimizer.observability.metrics import make_metrics as make_metrics
from optimizer.observability.notify import ServiceManager as ServiceManager
from optimizer.observability.resources import ResourceMeter as ResourceMeter
from optimizer.observability.resources import sample_resources as sample_resources
