"""`prices`: look a price up, bring a table in, and check a table before it is used."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.cli.options import ServerOptions, config_option
from optimizer.model import ConfigurationError, InvalidArgument

if TYPE_CHECKING:
    from optimizer.core.pricing import Card, Dated, Entry, Rate, Rates, Table

KINDS = ("input", "output", "cache_read", "cache_write", "reasoning")


@click.group()
def prices() -> None:
    """Show, import and check prices."""


@prices.command()
@config_option
@click.option("--provider", help="Provider, in any spelling that telemetry uses; without it the model's name decides.")
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Day (UTC) [default: now].")
@click.option("--context", "contexts", multiple=True, metavar="KEY=VALUE", help="Such as processing=batch.")
@click.argument("model")
@click.pass_context
def show(
    context: click.Context,
    config: Path | None,
    provider: str | None,
    day: datetime | None,
    contexts: tuple[str, ...],
    model: str,
) -> None:
    """Print the price of MODEL and where it comes from; exit code 1 when it is unknown."""
    from optimizer.collector.pricing import load_table
    from optimizer.core.pricing import Prices

    settings = ServerOptions(config=config).over(context.find_object(ServerOptions)).load()
    at = int((time.time() if day is None else day.replace(tzinfo=UTC).timestamp()) * 1_000_000)
    wanted = dict(_pair(each) for each in contexts)
    known = Prices(load_table(settings.collector.prices_path))
    for card in known.cards(provider, model):
        row = card.select(at, wanted)
        if row is not None:
            for line in _describe(card, row):
                click.echo(line)
            return
    click.echo(f"unknown: {model} of {provider or 'any provider'}", err=True)
    context.exit(1)


@prices.command("import")
@click.option(
    "--format", "kind", type=click.Choice(["litellm"]), default="litellm", show_default=True, help="Its format."
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write [default: print].")
@click.option(
    "--only", multiple=True, metavar="PROVIDER", help="Take this provider's rows only; several times for more."
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def import_(kind: str, output: Path | None, only: tuple[str, ...], file: Path) -> None:
    """Turn a price list FILE into a table of ours (TOML), for collector.prices_path.

    Nothing is written unless the whole file could be read. Rows that cannot be used are counted by reason.
    """
    from optimizer.collector.pricing import read_text
    from optimizer.core.pricing import read_litellm, read_table

    imported = read_litellm(read_text(file), source=f"{kind} {file.name}")
    chosen = [entry for entry in imported.entries if not only or entry.provider in {each.lower() for each in only}]
    if not chosen:
        raise InvalidArgument(f"{file}: no usable rows")
    text = render_table(chosen)
    read_table(text, str(file))  # what we write has to be what we read
    if output is None:
        click.echo(text, nl=False)
    else:
        _replace(output, text)
    reasons: dict[str, int] = {}
    for _, reason in imported.skipped:
        reasons[reason] = reasons.get(reason, 0) + 1
    click.echo(f"{len(chosen)} rows; left out {len(imported.skipped)}:", err=True)
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:20]:
        click.echo(f"  {count} {reason}", err=True)


@prices.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.pass_context
def check(context: click.Context, config: Path | None, file: Path | None) -> None:
    """Check a table (FILE, else collector.prices_path), and list what differs from the installed data."""
    from optimizer.collector.pricing import load_table

    if file is None:
        file = ServerOptions(config=config).over(context.find_object(ServerOptions)).load().collector.prices_path
    if file is None:
        raise InvalidArgument("no file given, and collector.prices_path is not set")
    table = load_table(file)
    differences = list(_differences(table))
    for line in differences:
        click.echo(line)
    click.echo(f"{file}: {len(table.entries)} rows are valid, {len(differences)} differ from the installed data.")


def render_table(entries: "list[Entry]") -> str:
    """The rows as TOML, with amounts as texts so that they stay exact everywhere."""
    import tomli_w

    return tomli_w.dumps({"price": [_row(entry) for entry in entries]})


def _row(entry: "Entry") -> dict[str, Any]:
    row: dict[str, Any] = {"model": entry.model}
    if entry.provider:
        row["provider"] = entry.provider
    if entry.context:
        row["context"] = dict(entry.context)
    tiers: dict[int, dict[str, Any]] = {}
    for kind, rate in _rates(entry.rates):
        row[kind] = _exact(rate.base)
        for above, price in rate.tiers:
            tiers.setdefault(above, {"above": above})[kind] = _exact(price)
    if tiers:
        row["tiers"] = [tiers[above] for above in sorted(tiers)]
    return row | {"source": entry.source}


def _rates(rates: "Rates") -> "Iterator[tuple[str, Rate]]":
    for kind in KINDS:
        rate: Rate | None = getattr(rates, kind)
        if rate is not None:
            yield kind, rate


def _describe(card: "Card", row: "Dated") -> Iterator[str]:
    yield f"{card.name}  (US dollars per million tokens)"
    for kind, rate in _rates(row.rates):
        tiers = "".join(f", {_exact(price)} above {above:,} input tokens" for above, price in rate.tiers)
        yield f"  {kind:<12}{_exact(rate.base)}{tiers}"
    if row.rates.request is not None:
        yield f"  {'request':<12}{_exact(row.rates.request)} per call"
    if row.validity.start is not None:
        yield f"  {'since':<12}{datetime.fromtimestamp(row.validity.start / 1e6, UTC):%Y-%m-%d}"
    yield f"  {'source':<12}{card.source}{f', {row.note}' if row.note else ''}"


def _differences(table: "Table") -> Iterator[str]:
    from optimizer.core.pricing.bundled import find_card

    now = int(time.time() * 1_000_000)
    for entry in table.entries:
        card = None if entry.model.endswith("*") else find_card(entry.provider, entry.model)
        row = None if card is None else card.select(now, dict(entry.context))
        theirs: Mapping[str, Rate] = {} if row is None else dict(_rates(row.rates))
        for kind, rate in _rates(entry.rates):
            other = theirs.get(kind)
            if other is not None and abs(rate.base - other.base) * 100 > max(rate.base, other.base):
                name = f"{entry.provider or '*'}/{entry.model}"
                yield f"{name}: {kind} {_exact(rate.base)}, installed data {_exact(other.base)}"


def _exact(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise InvalidArgument(f"--context: expected KEY=VALUE, not {text!r}")
    return key, value


def _replace(path: Path, text: str) -> None:
    """Write beside and rename, so that a reader sees the old table or the new one, never half of one."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from error
