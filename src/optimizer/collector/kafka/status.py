"""How the consumer stands, for health and metrics."""

from collections.abc import Callable


class Status:
    """Written by the consumer, read by the probe; `changed` is called when trouble begins, changes or ends."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.trouble: str | None = "not connected yet"
        self.lag: int | None = None
        self.records = 0
        self.dead_letters = 0
        self._changed = changed

    def well(self) -> None:
        """The broker answers."""
        self._set(None)

    def troubled(self, trouble: str) -> None:
        """Something is in the way; the words are for an operator."""
        self._set(trouble)

    def metadata(self) -> dict[str, str]:
        """Numbers for health."""
        lag = "unknown" if self.lag is None else str(self.lag)
        return {"kafka_lag": lag, "kafka_records": str(self.records), "kafka_dead_letters": str(self.dead_letters)}

    def _set(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._changed()
