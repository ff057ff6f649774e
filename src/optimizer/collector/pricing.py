"""Prices at the intake: a call without a reported cost gets one from the own table or the installed data, if known."""

from pathlib import Path

from msgspec.structs import replace

from optimizer.core.pricing import Prices, Table, read_table
from optimizer.model import ConfigurationError, FeedbackEvent

# LiteLLM's whole table is 3 MB; what is far larger is another file.
MAX_TABLE_BYTES = 64 << 20


class Pricer:
    """Prices calls by the tables. The installed data is imported by the first look-up; `warm` does that beforehand."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def __call__(self, event: FeedbackEvent) -> FeedbackEvent:
        """The call with its cost, or unchanged when that is unknown."""
        if event.model is None and event.response_model is None:
            return event
        priced = self._prices.price_event(event)
        if priced is None:
            return event
        return replace(event, cost_usd=priced.cost, cost_source="priced")

    def warm(self) -> None:
        """Import the installed data, which takes some 0.3 s: for a thread, so that no caller waits for it."""
        self._prices.cards("openai", "gpt-4o")


def load_table(path: Path | None) -> Table:
    """The own table in the file; an empty one without a file. Raises: `ConfigurationError` that names every bad row."""
    return Table() if path is None else read_table(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a price list. Raises: `ConfigurationError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
        if len(content) > MAX_TABLE_BYTES:
            raise ConfigurationError(f"{path}: larger than {MAX_TABLE_BYTES} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text (byte {error.start})") from error
