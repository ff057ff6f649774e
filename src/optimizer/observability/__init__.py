"""Logging, the metrics registry and its endpoint, tracing and resource sampling."""
