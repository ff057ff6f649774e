"""The `replay` command: every decision of a log computed again, and another policy evaluated on its traffic."""

import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click

from optimizer.core.offpolicy import Evaluation, GateRule, judge_gate
from optimizer.core.replay import Line, Replay, recorded_policies, replay
from optimizer.core.whatif import LOSSES, Proposal, WhatIf
from optimizer.model import InvalidArgument
from optimizer.storage.embedded.logfile import LogFile, open_log_file


@click.command("replay")
@click.argument("log", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--what-if",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file: service, [default] and [segments.NAME] with the probability of each variant.",
)
def command(log: Path, what_if: Path | None) -> int:
    """Compute every decision of a log again and compare it, byte for byte.

    LOG is the store's folder (data/store). The server may be running. Exit code 1: something came out differently.
    """
    proposal = None if what_if is None else WhatIf(read_proposal(what_if))
    began = time.perf_counter()
    with open_log_file(log) as file:
        recorded = recorded_policies(lines(file))
        result = replay(lines(file), recorded, each=None if proposal is None else proposal.see)
    seconds = time.perf_counter() - began
    tell(result, seconds)
    if proposal is not None:
        for metric, found in proposal.evaluate().items():
            tell_estimate(metric, found)
    return 1 if result.different else 0


def lines(file: LogFile) -> Iterator[Line]:
    """The log's records."""
    for entry in file.entries():
        yield Line(entry.offset, entry.kind, entry.payload)


def read_proposal(path: Path) -> Proposal:
    """The proposed policy. Raises InvalidArgument for a file that is none."""
    try:
        raw = tomllib.loads(path.read_text())
        rows = {name: {v: float(p) for v, p in row.items()} for name, row in raw.get("segments", {}).items()}
        return Proposal(raw["service"], {v: float(p) for v, p in raw["default"].items()}, rows)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise InvalidArgument(f"{path} is not a policy: {error!r}") from error


def tell(result: Replay, seconds: float) -> None:
    """What the replay found, in two lines and one for each difference."""
    rate = result.records / seconds if seconds else 0.0
    click.echo(f"{result.records} records in {seconds:.2f} s ({rate:,.0f}/s), {len(result.state.services)} services")
    rollouts = len(result.state.rollouts.known)
    same = result.policies - len(result.different)
    click.echo(f"{same} of {result.policies} policies came out byte for byte the same; {rollouts} rollouts folded")
    for difference in result.different[:20]:
        click.echo(f"  different: {difference.service} version {difference.version} at offset {difference.offset}")


def tell_estimate(metric: str, found: Evaluation) -> None:
    """One metric: what the log says, what the proposal would have given, and whether the log can tell."""
    sign = -1.0 if metric in LOSSES else 1.0
    low, high = sorted((sign * found.dr.low, sign * found.dr.high))
    click.echo(
        f"{metric}: logged {sign * found.logged.value:.6g}, proposed {sign * found.dr.value:.6g} "
        f"(95 % {low:.6g} .. {high:.6g}, doubly robust); SNIPS {sign * found.snips.value:.6g}, "
        f"IPS {sign * found.ips.value:.6g}; {found.effective:.0f} effective of {found.rows} rows"
    )
    answer = judge_gate(found, GateRule())
    for reason in answer.reasons:
        click.echo(f"  {answer.answer}: {reason}")
