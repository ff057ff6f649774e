"""The gRPC front door: HTTP/2 on Trio, call handling, one module per service."""
