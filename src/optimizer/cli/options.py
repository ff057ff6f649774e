"""Options that several commands share: where the settings come from."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from optimizer.config import Settings

LEVELS = ("trace", "debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the command line says about settings; None or False for what it does not say."""

    config: Path | None = None
    log_level: str | None = None
    json_logs: bool = False
    validate_config: bool = False
    print_default_config: bool = False

    def over(self, outer: "ServerOptions | None") -> "ServerOptions":
        """These options, completed by those given before the command."""
        if outer is None:
            return self
        return ServerOptions(
            config=self.config or outer.config,
            log_level=self.log_level or outer.log_level,
            json_logs=self.json_logs or outer.json_logs,
            validate_config=self.validate_config or outer.validate_config,
            print_default_config=self.print_default_config or outer.print_default_config,
        )

    def load(self) -> "Settings":
        """The settings of file, environment and flags. Raises: `ConfigurationError` with every problem."""
        import os

        from optimizer.config import load_settings

        overrides = {
            "observability.log_level": self.log_level,
            "observability.json_logging": True if self.json_logs else None,
        }
        return load_settings(self.config, os.environ, overrides)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-c/--config`, also `$LLM_OPTIMIZER_CONFIG`, which services and containers find handy."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="LLM_OPTIMIZER_CONFIG",
        metavar="FILE",
        help="Configuration file (TOML or YAML).",
    )(command)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the founding document, handed to the command as one `ServerOptions`."""

    @config_option
    @click.option(
        "-l", "--log-level", type=click.Choice(LEVELS, case_sensitive=False), help="Least severe level to log."
    )
    @click.option("--json-logs", is_flag=True, help="Log one JSON object per line.")
    @click.option("--validate-config", is_flag=True, help="Check the configuration and exit.")
    @click.option("--print-default-config", is_flag=True, help="Print the default configuration (TOML) and exit.")
    @functools.wraps(command)
    def wrapped(*args: Any, **given: Any) -> Any:
        names = ("config", "log_level", "json_logs", "validate_config", "print_default_config")
        options = ServerOptions(**{name: given.pop(name) for name in names})
        return command(*args, options=options, **given)

    return wrapped
