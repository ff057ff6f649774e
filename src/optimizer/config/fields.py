"""The vocabulary of the settings tree: bounded types, secrets, and what may change while the server runs."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.fields import FieldInfo

T = TypeVar("T")

Port = Annotated[int, Field(ge=0, le=65535)]  # 0 asks the system for a free port, which tests and demos want
Size = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
LogLevel = Literal["trace", "debug", "info", "warn", "error"]
Role = Literal["admin", "user", "readonly", "api_user", "read", "write"]


def _require_url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in schemes or not rest.strip("/"):
            raise ValueError("expected a URL like " + " or ".join(f"{known}://host" for known in schemes))
        return value

    return AfterValidator(check)


def _require_secret_url(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes or not rest.strip("/"):
            raise ValueError("expected a URL like " + " or ".join(f"{known}://host" for known in schemes))
        return value

    return AfterValidator(check)


def _require_secret(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("expected a non-empty secret")
    return value


def _require_long_secret(value: SecretStr) -> SecretStr:
    # RFC 7518 section 3.2: an HS256 key has at least the 256 bits of the hash.
    if len(value.get_secret_value().encode()) < 32:
        raise ValueError("expected a secret of at least 32 bytes")
    return value


HttpUrl = Annotated[str, _require_url("http", "https")]
Secret = Annotated[SecretStr, AfterValidator(_require_secret)]
LongSecret = Annotated[SecretStr, AfterValidator(_require_long_secret)]
HttpSecretUrl = Annotated[SecretStr, _require_secret_url("http", "https")]
PostgresUrl = Annotated[SecretStr, _require_secret_url("postgres", "postgresql")]
RedisUrl = Annotated[SecretStr, _require_secret_url("redis", "rediss", "unix")]


def _check_broker(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("expected host:port")
    return value


Broker = Annotated[str, AfterValidator(_check_broker)]


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def key(default: T, description: str, *, live: bool = False) -> T:
    """Declare a setting. `live`: a reload applies a change of it while running; otherwise it needs a restart."""
    value: T = Field(default, description=description, json_schema_extra={"live": live})
    return value


def is_live(field: FieldInfo) -> bool:
    """Whether a change of the field is applied by a reload."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("live") is True


def types_of(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation without None: `int | None` gives `(int,)`, Annotated is looked through."""
    if hasattr(annotation, "__metadata__"):
        return types_of(get_args(annotation)[0])
    arguments = get_args(annotation)
    if type(None) in arguments:
        return tuple(kind for part in arguments if part is not type(None) for kind in types_of(part))
    return (annotation,)


def section_of(annotation: Any) -> type[Section] | None:
    """The section class that the annotation allows, None for a plain value."""
    for kind in types_of(annotation):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def is_optional(annotation: Any) -> bool:
    """Whether the setting may be absent."""
    return type(None) in get_args(annotation)


def is_secret(annotation: Any) -> bool:
    """Whether the setting's value, or a part of it, must never be shown."""
    for kind in types_of(annotation):
        if kind is SecretStr or any(is_secret(part) for part in get_args(kind) if part is not Ellipsis):
            return True
        if isinstance(kind, type) and issubclass(kind, Section):
            return any(is_secret(field.annotation) for field in kind.model_fields.values())
    return False


def is_path(annotation: Any) -> bool:
    """Whether the setting names a file or folder."""
    return Path in types_of(annotation)
