"""The `demo` command."""

from pathlib import Path

import click
import trio
from rich.console import Console

from optimizer.cli.demo.run import run_demo
from optimizer.cli.demo.server import DemoFailed


@click.command()
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("demo/benchmark.json"),
    show_default=True,
    help="The benchmark's figures per category and model.",
)
@click.option(
    "--requests", type=click.IntRange(200, 100_000), default=4000, show_default=True, help="Calls to simulate."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated application.")
def demo(table: Path, requests: int, seed: int) -> int:
    """Start a server on a temporary store, let a simulated application learn from it, restart it, compare."""
    console = Console(stderr=False)
    code = 0
    try:
        trio.run(run_demo, table, requests, seed, console)
    except* DemoFailed as group:
        code = 1
        for error in leaves(group):
            console.print(f"The demo failed: {error}", style="bold red", markup=False)
    return code


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors of a group and of the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
