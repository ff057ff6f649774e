"""`dead-letters`: see which Kafka records could not be taken, and send them again once the reason is gone."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optimizer.cli.options import ServerOptions, config_option
from optimizer.model import ConfigurationError

if TYPE_CHECKING:
    from optimizer.collector.kafka import DeadLetter, DeadLetters
    from optimizer.config import Settings

BATCH = 100  # letters sent before their answers are waited for


@click.group("dead-letters")
def dead_letters() -> None:
    """Show and replay Kafka records that could not be taken."""


@dead_letters.command("list")
@config_option
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=0), help="How many, the newest ones.")
@click.pass_context
def list_(context: click.Context, config: Path | None, last: int) -> None:
    """Print the newest dead letters and how many there are for each reason. Contents are not printed."""
    found = list(_open(_settings(context, config)).read())
    for letter in found[len(found) - min(last, len(found)) :]:
        moment = datetime.fromtimestamp(letter.at / 1e6, UTC).isoformat(timespec="seconds")
        size = 0 if letter.value is None else len(letter.value)
        click.echo(f"{moment}  {letter.topic}/{letter.partition}/{letter.offset}  {size} bytes  {letter.reason}")
    for reason, number in Counter(letter.reason for letter in found).most_common(20):
        click.echo(f"{number} x {reason}")
    click.echo(f"{len(found)} dead letters")


@dead_letters.command()
@config_option
@click.pass_context
def replay(context: click.Context, config: Path | None) -> None:
    """Send every dead letter to the topic that it came from, then remove it here.

    May run beside the server. What was taken the first time is not counted again, and what is refused again becomes a
    dead letter again. When sending fails nothing is removed, and the next replay sends all of them.
    """
    import trio

    settings = _settings(context, config)
    if not settings.collector.kafka_brokers:
        raise ConfigurationError("collector.kafka_brokers is empty: there is no broker to send to")
    letters = _open(settings)
    taken = list(letters.take())
    if taken:
        trio.run(_send, settings, taken)
    letters.forget()
    click.echo(f"{len(taken)} sent")


async def _send(settings: "Settings", letters: "list[DeadLetter]") -> None:
    from optimizer.bridge import open_bridge
    from optimizer.collector.kafka import opened_producer
    from optimizer.collector.kafka.session import FAILURES, send_back
    from optimizer.model import Unavailable
    from optimizer.nurseries.collecting import options_of

    try:
        async with (
            open_bridge() as bridge,
            bridge.opened(lambda: opened_producer(options_of(settings))) as producer,
        ):
            for start in range(0, len(letters), BATCH):
                await bridge.run(send_back, producer, letters[start : start + BATCH])
    except FAILURES as error:
        raise Unavailable(f"Kafka does not take them: {str(error) or type(error).__name__}") from error


def _settings(context: click.Context, config: Path | None) -> "Settings":
    return ServerOptions(config=config).over(context.find_object(ServerOptions)).load()


def _open(settings: "Settings") -> "DeadLetters":
    from optimizer.collector.kafka import DeadLetters
    from optimizer.nurseries.collecting import DEAD_LETTERS

    return DeadLetters(settings.storage.data_dir / DEAD_LETTERS)
