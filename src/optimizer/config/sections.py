"""The sections of the contract: what each service of the tree can be told."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from optimizer import __version__
from optimizer.config.fields import (
    Broker,
    Count,
    Duration,
    HttpSecretUrl,
    HttpUrl,
    LogLevel,
    Port,
    PostgresUrl,
    Rate,
    RedisUrl,
    Seconds,
    Secret,
    Section,
    Size,
    Text,
    key,
)


class Service(Section):
    """Who this process is and where it listens."""

    name: Text = key("llm-optimizer", "Name of this deployment, in logs and metrics.")
    version: Text = key(__version__, "Version shown to clients; leave it out to show the installed one.")
    environment: Literal["development", "staging", "production"] = key("development", "Where this deployment stands.")
    host: Text = key("127.0.0.1", "Address that every port binds to; 0.0.0.0 or :: for all.")


class Collector(Section):
    """Intake of feedback, telemetry and metrics."""

    enabled: bool = key(True, "Take in feedback.")
    kafka_brokers: tuple[Broker, ...] = key((), "host:port of Kafka brokers; empty leaves Kafka off.")
    kafka_topic: Text = key("llm-feedback", "Topic that is consumed.")
    kafka_group_id: Text = key("llm-optimizer", "Consumer group.")
    kafka_dead_letter_topic: str = key("llm-feedback-dlq", "Topic for records that cannot be read; empty for none.")
    kafka_results_topic: str = key("", "Topic that decisions and alerts are published to; empty for none.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = key("PLAINTEXT", "Kafka transport.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = key("SCRAM-SHA-512", "SASL mechanism.")
    kafka_username: str = key("", "SASL user name.")
    kafka_password: Secret | None = key(None, "SASL password.")
    kafka_ca_path: Path | None = key(None, "PEM file with the authorities that sign the brokers' certificates.")
    buffer_size: Size = key(10_000, "Events that may wait for the durable append before intake pushes back.")
    batch_size: Size = key(100, "Events per append when they trickle in one by one.")
    otlp_grpc_port: Port | None = key(None, "Extra port for OTLP over gRPC (usually 4317) beside the gRPC API's own.")
    otlp_http_port: Port | None = key(None, "Extra port for OTLP over HTTP (usually 4318) beside the REST API's own.")
    keep_content: bool = key(False, "Keep prompts and completions found in telemetry.", live=True)
    observed_services: Count = key(
        200, "Services that may be known before one that only telemetry names is refused instead of observed."
    )
    prices_path: Path | None = key(
        None, "TOML table of own prices, which go before the installed ones (docs/prices.md)."
    )
    spool_bytes: Count = key(1 << 30, "Disk space for events while the store is away; 0 refuses them instead.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size > self.buffer_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be at most buffer_size ({self.buffer_size}): "
                "a batch has to fit the buffer"
            )
        if self.kafka_security.startswith("SASL") and (not self.kafka_username or self.kafka_password is None):
            raise ValueError("kafka_security with SASL needs kafka_username and kafka_password")
        return self


class Processor(Section):
    """The fold over the log and what hangs on it."""

    enabled: bool = key(True, "Fold, analyse and decide.")
    worker_threads: Size = key(4, "Threads for calculations that would block the event loop.")
    window_size_secs: Size = key(300, "Length of the analysis window, in seconds of event time.")


class TlsPort(Section):
    """A listening port with optional TLS (1.3 only)."""

    enabled: bool = key(True, "Serve this interface.")
    port: Port = key(0, "TCP port; 0 for any free one.")
    enable_tls: bool = key(False, "Serve over TLS 1.3.")
    tls_cert_path: Path | None = key(None, "PEM file with the certificate chain.")
    tls_key_path: Path | None = key(None, "PEM file with the private key.")
    tls_client_ca_path: Path | None = key(None, "PEM file with the authorities of client certificates (mutual TLS).")
    require_client_cert: bool = key(False, "Refuse clients without a certificate (mutual TLS).")

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.enable_tls and (self.tls_cert_path is None or self.tls_key_path is None):
            raise ValueError("enable_tls needs tls_cert_path and tls_key_path")
        if self.require_client_cert and (not self.enable_tls or self.tls_client_ca_path is None):
            raise ValueError("require_client_cert needs enable_tls and tls_client_ca_path")
        return self


class RestApi(TlsPort):
    """The REST interface."""

    port: Port = key(8080, "TCP port; 0 for any free one.")
    timeout_secs: Seconds = key(30, "Time that one request may take, in seconds.", live=True)
    requests_per_second: Rate = key(0, "Requests per second and caller; 0 for no limit.", live=True)
    burst_size: Size = key(1000, "Requests that a caller may send at once above the rate.", live=True)
    cors_origins: tuple[Text, ...] = key((), "Origins that browsers may call from.")
    docs: bool = key(True, "Serve the API description at /docs.")


class GrpcApi(TlsPort):
    """The gRPC interface."""

    port: Port = key(50051, "TCP port; 0 for any free one.")
    timeout_secs: Seconds = key(30, "Time that one call may take when its client sets no deadline.", live=True)
    requests_per_second: Rate = key(0, "Calls per second and caller; 0 for no limit.", live=True)
    burst_size: Size = key(1000, "Calls that a caller may send at once above the rate.", live=True)
    per_user: bool = key(True, "Count the rate per identity; false counts all callers together.", live=True)
    enable_reflection: bool = key(False, "Answer grpc.reflection, which describes the whole interface to anybody.")
    max_concurrent_connections: Size = key(1000, "Open connections; further ones are closed at once.")
    max_concurrent_streams: Size = key(256, "Calls in flight on one connection.")


class Storage(Section):
    """Where events, documents and snapshots are kept."""

    backend: Literal["auto", "memory", "embedded", "postgres"] = key(
        "auto", "Store to use; auto takes PostgreSQL when postgres_url is set, else the embedded one."
    )
    data_dir: Path = key(
        Path("data"), "Folder for the embedded store, the signing key and spools (created, mode 0700)."
    )
    postgres_url: PostgresUrl | None = key(None, "postgres://user:password@host:5432/database; switches PostgreSQL on.")
    redis_url: RedisUrl | None = key(None, "redis://host:6379; switches Redis on (cache, counters, fan-out).")
    sled_path: Path | None = key(None, "Folder of the embedded store when it shall not be data_dir/store.")
    max_connections: Size = key(10, "Connections in the PostgreSQL pool.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.backend == "postgres" and self.postgres_url is None:
            raise ValueError('backend = "postgres" needs postgres_url')
        return self

    @property
    def embedded_dir(self) -> Path:
        """The folder of the embedded store."""
        return self.sled_path or self.data_dir / "store"


class Jira(Section):
    """A Jira site."""

    base_url: HttpUrl = Field(description="Address of the site.")
    email: Text = Field(description="Account that tickets are filed as.")
    api_token: Secret = Field(description="Its API token.")


class Anthropic(Section):
    """The Anthropic API, for judging and rewriting prompts."""

    api_key: Secret = Field(description="API key.")
    base_url: HttpUrl = key("https://api.anthropic.com", "Address of the API.")


class Integrations(Section):
    """Other systems to tell and to ask; each is off until it is configured."""

    jira: Jira | None = key(None, "Jira.")
    anthropic: Anthropic | None = key(None, "Anthropic.")
    slack_webhook_url: HttpSecretUrl | None = key(None, "Slack incoming webhook.")
    github_token: Secret | None = key(None, "GitHub token.")


class Observability(Section):
    """Logs, metrics and traces of the optimizer itself."""

    log_level: LogLevel = key("info", "Least severe level that is logged.", live=True)
    json_logging: bool = key(False, "Log one JSON object per line.")
    otel_endpoint: HttpUrl | None = key(None, "OTLP endpoint that our own traces go to.")
    metrics_port: Port = key(9090, "Port of /metrics and /health; 0 for any free one.")
    metrics_host: Text | None = key(None, "Address of that port when it shall not be service.host.")
    resource_interval_s: Duration = key(10, "Seconds between samples of memory and CPU; 0 takes none.")
