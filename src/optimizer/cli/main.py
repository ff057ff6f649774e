"""The command line: `llm-optimizer` (or `python -m optimizer`) without a command serves.

What a command needs is imported when it runs, so that help and start-up stay quick.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from optimizer import __version__
from optimizer.cli.options import ServerOptions, server_options
from optimizer.model import ConfigurationError, OptimizerError

# sysexits.h: what the process says when its configuration does not hold.
BAD_CONFIGURATION = 78
INTERRUPTED = 130

# Commands that live in their own modules: name, where, and what `--help` says about it without importing it.
COMMANDS = {
    "dead-letters": ("optimizer.cli.dead_letters:dead_letters", "Show and replay Kafka records that were not taken."),
    "replay": ("optimizer.cli.replay:command", "Compute every decision of a log again and compare it."),
    "prices": ("optimizer.cli.prices:prices", "Show, import and check prices."),
    "demo": ("optimizer.cli.demo.command:demo", "Show the closed loop on a simulated application."),
    "token": ("optimizer.cli.credentials:token", "Print an access token signed with this server's key."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, ours and the lazy ones."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if need be."""
        known = super().get_command(ctx, cmd_name)
        if known is not None or cmd_name not in COMMANDS:
            return known
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, from the table for those that are not imported."""
        rows = []
        for name in self.list_commands(ctx):
            command = super().get_command(ctx, name)
            rows.append((name, COMMANDS[name][1] if command is None else command.get_short_help_str(100)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@server_options
@click.version_option(__version__, "-V", "--version", prog_name="llm-optimizer", message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context, options: ServerOptions) -> None:
    """The LLM Auto Optimizer: makes an LLM application cheaper, faster or better, and proves it.

    Without a command it serves, as `serve` does. Every setting: docs/configuration.md.
    """
    context.obj = options
    if context.invoked_subcommand is None:
        context.exit(_serve(options))


@root.command()
@server_options
@click.pass_context
def serve(context: click.Context, options: ServerOptions) -> None:
    """Start the server."""
    context.exit(_serve(options.over(context.find_object(ServerOptions))))


def _serve(options: ServerOptions) -> int:
    from optimizer.cli.serving import run

    return run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 refused or failed, 2 wrong usage, 78 bad configuration.

    `serve` adds those of the server: docs/shutdown.md.
    """
    try:
        # In this mode click returns the code of `context.exit`, or what the command returned.
        result = root.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigurationError as error:
        click.echo("The configuration does not hold:", err=True)
        for line in str(error).splitlines():
            click.echo(f"  {line}", err=True)
        return BAD_CONFIGURATION
    except OptimizerError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nowhere to say it.
        sys.stderr.close()
        return 1
    return result if isinstance(result, int) else 0
