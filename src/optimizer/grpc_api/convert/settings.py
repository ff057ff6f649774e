"""The server's own settings as the contract's OptimizerConfig, and changes of them."""

import json
from collections.abc import Collection
from typing import Any

from pydantic import SecretStr, ValidationError

from optimizer.config import Settings
from optimizer.config.fields import is_secret
from optimizer.grpc_api.pb import config_pb2 as pb
from optimizer.grpc_api.pb.common_pb2 import DEPLOYMENT_MODE_STANDALONE
from optimizer.model import InvalidArgument
from optimizer.processor.entries import MASK

# What a client can set through a field of its own; everything else goes through custom_config as "section.key".
FIELDS = {
    "service.service_name": "service.name",
    "service.host": "service.host",
    "service.port": "rest_api.port",
    "service.optimization_interval_secs": "decisions.recompute_interval_s",
    "database.connection_string": "storage.postgres_url",
    "database.max_connections": "storage.max_connections",
    "integrations.sentinel_kafka_brokers": "collector.kafka_brokers",
    "observability.log_level": "observability.log_level",
    "observability.json_logging": "observability.json_logging",
    "observability.traces_endpoint": "observability.otel_endpoint",
}
UNKNOWN_FIELDS = (
    "database.timeout_secs", "database.auto_migrate", "integrations.observatory_url", "integrations.orchestrator_url",
    "integrations.governance_url", "integrations.registry_url", "observability.metrics_endpoint",
    "observability.sampling_rate_pct", "strategies.enable_ab_testing", "strategies.enable_reinforcement_learning",
    "strategies.enable_cost_optimization", "strategies.enable_adaptive_tuning", "strategies.min_confidence_threshold",
    "strategies.evaluation_window_secs",
)  # fmt: skip
"""Fields of the contract that no setting of this server stands for."""


def to_config(settings: Settings, *, include_sensitive: bool) -> pb.OptimizerConfig:
    """The settings; secrets are masked unless asked for, and left out when they are not set."""

    def text(key: str) -> str:
        return _text(_value(settings, key), include_sensitive)

    told, service = settings.observability, settings.service
    return pb.OptimizerConfig(
        service=pb.ServiceConfig(
            service_name=service.name,
            host=service.host,
            port=settings.rest_api.port,
            mode=DEPLOYMENT_MODE_STANDALONE,
            optimization_interval_secs=round(settings.decisions.recompute_interval_s),
        ),
        database=pb.DatabaseConfig(
            connection_string=text("storage.postgres_url"), max_connections=settings.storage.max_connections
        ),
        integrations=pb.IntegrationConfig(sentinel_kafka_brokers=settings.collector.kafka_brokers),
        observability=pb.ObservabilityConfig(
            log_level=told.log_level,
            json_logging=told.json_logging,
            metrics_endpoint=f"http://{told.metrics_host or service.host}:{told.metrics_port}/metrics",
            traces_endpoint=told.otel_endpoint or "",
        ),
        custom_config={
            f"{section}.{name}": text(f"{section}.{name}")
            for section in type(settings).model_fields
            for name in type(getattr(settings, section)).model_fields
        },
    )


def requested(config: pb.OptimizerConfig) -> tuple[dict[str, object], list[str]]:
    """The settings that the message asks for, by "section.key", and warnings about fields that mean nothing here.

    The contract has no field presence: a field at its zero value asks for nothing. A masked value asks for nothing.
    """
    wanted: dict[str, object] = {}
    for path, key in FIELDS.items():
        value = _field(config, path)
        if value and value != MASK:
            wanted[key] = list(value) if path.endswith("brokers") else value
    wanted.update({key: text for key, text in config.custom_config.items() if text != MASK})
    warnings = [f"{path} means nothing to this server" for path in UNKNOWN_FIELDS if _field(config, path)]
    return wanted, warnings


def with_changes(settings: Settings, wanted: dict[str, object]) -> tuple[Settings, list[InvalidArgument]]:
    """The settings with the changes made, and what is wrong with those that could not be made."""
    values = settings.model_dump()
    errors: list[InvalidArgument] = []
    for key, value in wanted.items():
        section, _, name = key.partition(".")
        if name not in _names(settings, section):
            errors.append(InvalidArgument("there is no such setting", field=key))
        elif value != _text(_value(settings, key), include_sensitive=False):
            values[section][name] = _read(value)
    try:
        return Settings.model_validate(values), errors
    except ValidationError as invalid:
        found = invalid.errors(include_url=False, include_input=False, include_context=False)
        errors += [InvalidArgument(str(each["msg"]), field=".".join(map(str, each["loc"]))) for each in found]
        return settings, errors


def _names(settings: Settings, section: str) -> Collection[str]:
    return type(getattr(settings, section)).model_fields if section in type(settings).model_fields else ()


def _value(settings: Settings, key: str) -> object:
    section, name = key.split(".")
    value: object = getattr(getattr(settings, section), name)
    field = type(getattr(settings, section)).model_fields[name]
    return _Hidden(value) if is_secret(field.annotation) and value else value


class _Hidden:
    """A setting that is a secret or holds one."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _text(value: object, include_sensitive: bool) -> str:
    if isinstance(value, _Hidden):
        if not include_sensitive or not isinstance(value.value, SecretStr):
            return MASK
        return value.value.get_secret_value()
    if value is None or value == ():
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list | tuple):
        return json.dumps(value)
    return str(value)


def _read(value: object) -> object:
    """A value as the settings tree takes it, which reads numbers and truth values from text: lists come as JSON."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    if value[0] not in "[{":
        return value
    try:
        parsed: object = json.loads(value)
    except ValueError:
        return value
    return parsed


def _field(config: pb.OptimizerConfig, path: str) -> Any:
    section, name = path.split(".")
    return getattr(getattr(config, section), name)
