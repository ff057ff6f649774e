"""What the services use of the rest of the server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optimizer.bus import Latest, News, Slot
from optimizer.collector import Intake
from optimizer.config import Difference, Settings
from optimizer.grpc_api.streams.subscriptions import Subscriptions
from optimizer.nurseries.health import HealthBoard
from optimizer.processor import Processor
from optimizer.processor.offices import Offices
from optimizer.storage import Store


class Operations(Protocol):
    """What operators may do to the running process."""

    def reload(self) -> Difference:
        """Read the configuration again. Raises ConfigurationError; then nothing has changed."""
        ...

    def shut_down(self, reason: str, within_s: float | None) -> None:
        """Begin the drain; after `within_s` whatever still drains is cancelled."""
        ...

    def set_log_level(self, level: str, module: str) -> str:
        """Change the level of a logger ("" is all of them) and give the one before. Raises InvalidArgument."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Shared with REST, so that both front doors read and change the same state. `now` is microseconds since 1970."""

    store: Store
    processor: Slot[Processor]
    intake: Slot[Intake]
    offices: Offices
    news: News
    board: HealthBoard
    settings: Latest[Settings]
    operations: Operations
    subscriptions: Subscriptions
    now: Callable[[], int]
    connections: Callable[[], int]
    started_at: int

    @property
    def data_dir(self) -> Path:
        """Where the embedded store and the keys are."""
        return self.settings.get().storage.data_dir
