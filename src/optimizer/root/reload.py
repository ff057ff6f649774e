"""Hot reload: read and validate everything first, then swap one immutable settings object.

A request that took the object before the swap goes on with the old one: nobody ever sees a mixture.
"""

from collections.abc import Callable

import structlog
import trio

from optimizer.bus import Latest
from optimizer.config import Difference, Settings, apply_live, diff
from optimizer.model import ConfigurationError
from optimizer.observability import LogControl, Metrics, ServiceManager

log = structlog.stdlib.get_logger(__name__)


class Reloader:
    """Reloads on request; a storm of requests costs one reload after the one under way."""

    def __init__(
        self,
        settings: Latest[Settings],
        load: Callable[[], Settings],
        metrics: Metrics,
        *,
        logging: LogControl | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self.last_error: str | None = None
        self._settings = settings
        self._load = load
        self._metrics = metrics
        self._logging = logging
        self._manager = manager
        self._asked = trio.Event()

    def request(self) -> None:
        """Ask for a reload; returns at once."""
        self._asked.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reload whenever asked. Runs until cancelled."""
        task_status.started()
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            if self._manager is not None:
                self._manager.reloading()
            try:
                self.reload()
            except ConfigurationError as error:
                log.error("the new configuration was refused, the old one stays", error=str(error))  # noqa: TRY400 - the text says it all
            finally:
                if self._manager is not None:
                    self._manager.ready()
            await trio.lowlevel.checkpoint()

    def reload(self) -> Difference:
        """Read, validate, swap; what changed, and what needs a restart (which keeps its old value until then).

        Raises `ConfigurationError` when the new configuration is bad; then nothing has changed.
        """
        old = self._settings.get()
        try:
            new = self._load()
        except ConfigurationError as error:
            self.last_error = str(error)
            self._metrics.config_reloads_total.labels("refused").inc()
            self._metrics.config_reload_failed.set(1)
            raise
        difference = diff(old, new)
        self._settings.set(apply_live(old, new))
        if self._logging is not None:
            self._logging.set_level(self._settings.get().observability.log_level)
        self.last_error = None
        self._metrics.config_reloads_total.labels("applied").inc()
        self._metrics.config_reload_failed.set(0)
        for change in difference.live:
            log.info("setting changed", key=change.key, old=change.old, new=change.new)
        for change in difference.restart:
            log.warning("setting changes after a restart only", key=change.key, old=change.old, new=change.new)
        log.info("configuration reloaded", changed=len(difference.live), needs_restart=len(difference.restart))
        return difference
