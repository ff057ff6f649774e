"""`token`: access for a person or a program, signed with the key of this data folder."""

import time
from pathlib import Path

import click

from optimizer.cli.options import ServerOptions, config_option


@click.command()
@config_option
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(["admin", "user", "readonly", "api_user", "read", "write"]),
    help="What the bearer may do; may be given several times.",
)
@click.option(
    "--subject", default="cli", show_default=True, help="Whom the token speaks for, in logs and the audit trail."
)
@click.option("--ttl", type=click.FloatRange(min=1), help="Life in seconds [default: security.token_ttl_s].")
@click.pass_context
def token(context: click.Context, config: Path | None, roles: tuple[str, ...], subject: str, ttl: float | None) -> None:
    """Print an access token signed with this server's key.

    It works on the data folder, so the server need not run; on first use the key is made.
    """
    from optimizer.security import load_keys, make_tokens

    settings = ServerOptions(config=config).over(context.find_object(ServerOptions)).load()
    tokens = make_tokens(settings, load_keys(settings))
    click.echo(tokens.issue(subject, roles, now=time.time(), ttl_s=ttl or settings.security.token_ttl_s))
