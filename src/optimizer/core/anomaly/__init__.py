"""Anomalies of metric series: seasonality-aware, streaming, one set of settings for every series."""

from optimizer.core.anomaly.monitor import AnomalyAlert as AnomalyAlert
from optimizer.core.anomaly.monitor import AnomalyMonitor as AnomalyMonitor
from optimizer.core.anomaly.monitor import MonitorState as MonitorState
from optimizer.core.anomaly.monitor import series_key as series_key
from optimizer.core.anomaly.series import Finding as Finding
from optimizer.core.anomaly.series import SeriesDetector as SeriesDetector
from optimizer.core.anomaly.series import SeriesState as SeriesState
