"""What operators may do to the running process, whichever front door they come through."""

import logging

from optimizer.config import Difference
from optimizer.nurseries.stop import Stop
from optimizer.observability import LogControl
from optimizer.observability.logs import NAMES, to_number
from optimizer.root.reload import Reloader


class Operator:
    """Reload, shut down, change log levels."""

    def __init__(self, stop: Stop, reloader: Reloader, control: LogControl | None) -> None:
        self._stop = stop
        self._reloader = reloader
        self._control = control

    def reload(self) -> Difference:
        """Read the configuration again. Raises ConfigurationError; then nothing has changed."""
        return self._reloader.reload()

    def shut_down(self, reason: str, within_s: float | None) -> None:
        """Begin the drain; after `within_s` whatever still drains is cancelled."""
        self._stop.request(reason)
        if within_s is not None:
            self._stop.limit(within_s)

    def set_log_level(self, level: str, module: str) -> str:
        """Change the level of a logger ("" is all that have none of their own) and give the one before.

        Raises InvalidArgument for an unknown level.
        """
        number = to_number(level)
        logger = logging.getLogger(module or None)
        before = NAMES.get(logger.getEffectiveLevel(), "info")
        if module or self._control is None:
            logger.setLevel(number)
        else:
            self._control.set_level(level)
        return before
