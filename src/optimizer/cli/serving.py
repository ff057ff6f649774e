"""`serve`: read the settings, open logging, run the tree; and the two answers that need no server."""

import os
import random
import sys
from collections.abc import Sequence

import click

from optimizer.cli.options import ServerOptions
from optimizer.config import Settings, TlsPort, dump
from optimizer.model import ConfigurationError


def run(options: ServerOptions) -> int:
    """Serve until told to stop; the exit code of the server (docs/shutdown.md).

    Raises: `ConfigurationError` before anything was started.
    """
    if options.print_default_config:
        click.echo(dump(Settings(), comments=True), nl=False)
        return 0
    settings = options.load()
    check_files(settings)
    if options.validate_config:
        click.echo("The configuration is valid.")
        return 0
    return serve(settings, options)


def check_files(settings: Settings) -> None:
    """Read every file that the settings name, all problems at once. Raises: `ConfigurationError`."""
    ports: Sequence[tuple[str, TlsPort]] = (("rest_api", settings.rest_api), ("grpc_api", settings.grpc_api))
    problems = []
    for section, port in ports:
        if not (port.enabled and port.enable_tls):
            continue
        from optimizer.security import make_server_context

        try:
            make_server_context(port, section, ["h2", "http/1.1"])
        except ConfigurationError as error:
            problems.append(str(error))
    if settings.collector.prices_path is not None:
        from optimizer.collector.pricing import load_table

        try:
            load_table(settings.collector.prices_path)
        except ConfigurationError as error:
            problems += [f"collector.prices_path: {line}" for line in str(error).splitlines()]
    if problems:
        raise ConfigurationError("\n".join(problems))


def serve(settings: Settings, options: ServerOptions) -> int:
    """Run the tree with this process's surroundings: its signals, its clock, its standard output for the log."""
    from optimizer.nurseries.services import declare_services
    from optimizer.nurseries.tree import run_server
    from optimizer.observability import LineWriter, ServiceManager, open_logging
    from optimizer.root import Surroundings

    observability = settings.observability
    descriptor = sys.stdout.fileno()
    # Logs go to standard output, for the container or service manager to route (12factor.net/logs).
    colors = not observability.json_logging and os.isatty(descriptor) and "NO_COLOR" not in os.environ
    with (
        LineWriter(descriptor) as sink,
        open_logging(observability.log_level, json=observability.json_logging, sink=sink, colors=colors) as logging,
    ):
        around = Surroundings(
            load=options.load,
            rng=random.Random(),
            logging=logging,
            manager=ServiceManager(os.environ),
        )
        return int(run_server(settings, declare_services, around))
