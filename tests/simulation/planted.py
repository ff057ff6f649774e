"""Bugs that are planted one at a time, to prove that the simulation and the models find them.

Each is a small change of the sources: a file, a text that occurs in it exactly once, and what it becomes.
`test_planted.py` keeps them applicable; `python -m tests.campaign --part planted` hunts each one.
"""

from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src" / "optimizer"


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug. `hunter` is "simulation", or the test file of the model that has to find it."""

    name: str
    file: str
    old: str
    new: str
    hunter: str = "simulation"

    def apply(self, root: Path) -> None:
        """Plant it in a copy of the sources. Raises ValueError when the text is not there exactly once."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: the text is {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new))


SUPERVISOR = "tests/nurseries/test_supervisor_model.py"
BREAKER = "tests/nurseries/test_breaker.py"

PLANTED = (
    Planted(
        "acknowledged although the append failed",
        "collector/intake.py",
        "                offsets = (await self._log.append([*before, *found])).offsets\n",
        "                try:\n                    offsets = (await self._log.append([*before, *found])).offsets\n"
        "                except Exception:\n                    offsets = ()\n",
    ),
    Planted(
        "events are not deduplicated",
        "collector/intake.py",
        "return Record(kind=records.FEEDBACK, key=event.service, payload=records.encode(event), dedup=dedup)",
        "return Record(kind=records.FEEDBACK, key=event.service, payload=records.encode(event))",
    ),
    Planted(
        "the intake never gives back its room",
        "collector/intake.py",
        "            self._pending -= len(items)\n",
        "            pass\n",
    ),
    Planted(
        "snapshots without their cursor: everything is counted again after a restart",
        "processor/fold.py",
        "await fold.store.commit(puts, Cursor(name=CURSOR, offset=fold.state.cursor))",
        "await fold.store.commit(puts)",
    ),
    Planted(
        "a cursor that is ahead of its snapshot",
        "processor/fold.py",
        "await fold.store.commit(puts, Cursor(name=CURSOR, offset=fold.state.cursor))",
        "await fold.store.commit(puts, Cursor(name=CURSOR, offset=fold.state.cursor + 1))",
    ),
    Planted(
        "the processor does not hear its cancellation",
        "processor/service.py",
        "                task_status.started()\n                await trio.sleep_forever()\n",
        "                task_status.started()\n                with trio.move_on_after(300, shield=True):\n"
        "                    await trio.sleep_forever()\n",
    ),
    Planted(
        "choices are appended without an idempotency key",
        "processor/exposures.py",
        "            dedup=records.idempotency_key(records.EXPOSURES, name, items[0].assignment_id),\n",
        "",
    ),
    Planted(
        "children hear a cancellation from outside before what is inside them has left",
        "nurseries/layers.py",
        "child.scope.shield = child.task is not None and child.task.parent_nursery is nursery",
        "child.scope.shield = False",
    ),
    Planted(
        "layers are nested the wrong way round",
        "nurseries/layers.py",
        "        for spec in order(specs):\n",
        "        for spec in order(specs)[::-1]:\n",
    ),
    Planted(
        "what drains is never cancelled at the end of its share",
        "nurseries/layers.py",
        "        child.scope.cancel()\n        # Cancelled late",
        "        # Cancelled late",
    ),
    Planted(
        "lost wake-up: the end of the lame-duck time is not told",
        "nurseries/stop.py",
        "            await self.hurried.wait()\n        self.draining.set()\n",
        "            await self.hurried.wait()\n",
    ),
    Planted(
        "a crashed service is not started again",
        "nurseries/supervisor.py",
        "            return spec.backoff.delay(len(self._restarts), self._rng)\n",
        "            return None\n",
    ),
    Planted(
        "crashes are not told",
        "nurseries/supervisor.py",
        "            self._tell(Happening.CRASHED, error=crash)\n",
        "",
    ),
    Planted(
        "a failure during a cancellation ends the process",
        "nurseries/supervisor.py",
        "            if error is None or rest is None:\n                raise\n",
        "            raise\n",
    ),
    Planted(
        "one restart too few",
        "nurseries/supervisor.py",
        "exhausted = len(self._restarts) >= spec.intensity.restarts",
        "exhausted = len(self._restarts) + 1 >= spec.intensity.restarts",
        SUPERVISOR,
    ),
    Planted(
        "old restarts are never forgotten",
        "nurseries/supervisor.py",
        "            self._restarts.popleft()\n",
        "            break\n",
        SUPERVISOR,
    ),
    Planted(
        "a service that was told to stop starts again after its backoff",
        "nurseries/supervisor.py",
        "        return self.spec.leave.is_set()\n\n    def _told",
        "        return False\n\n    def _told",
        SUPERVISOR,
    ),
    Planted(
        "the backoff does not grow",
        "nurseries/policy.py",
        "self.base_s * 2**doublings",
        "self.base_s * 2**min(doublings, 1)",
        SUPERVISOR,
    ),
    Planted(
        "a crash does not show in health",
        "nurseries/health.py",
        "service.healthy, service.running_since = False, None\n                service.consecutive_failures",
        "service.consecutive_failures",
    ),
    Planted(
        "ready while stopping",
        "nurseries/health.py",
        "return self._open and not self._stopping and up",
        "return self._open and up",
    ),
    Planted(
        "ready although an edge is down",
        "nurseries/health.py",
        "if s.critical or s.edge)",
        "if s.critical)",
    ),
    Planted(
        "a slot stays filled when its service crashes",
        "bus/cells.py",
        "            self._values.clear()\n",
        "",
    ),
    Planted(
        "a bad configuration is not caught",
        "root/reload.py",
        "            except ConfigurationError as error:\n                log.error(",
        "            except ZeroDivisionError as error:\n                log.error(",
    ),
    Planted(
        "a peer that does not read holds the stop",
        "rest_api/server.py",
        "with trio.fail_after(SEND_S):",
        "with trio.fail_after(SEND_S, shield=True):",
    ),
    Planted(
        "connections are never counted as closed",
        "rest_api/server.py",
        "            self.live.pop(stream, None)\n",
        "",
    ),
    Planted(
        "the port stays open while draining",
        "rest_api/server.py",
        "        await listener.aclose()\n",
        "",
    ),
    Planted(
        "a secret in the log",
        "nurseries/services.py",
        "    settings = parts.settings.get()\n    shared = Shared(",
        "    settings = parts.settings.get()\n"
        '    log.info("keys", key=settings.security.jwt_secret and settings.security.jwt_secret.get_secret_value())\n'
        "    shared = Shared(",
    ),
    Planted(
        "cancelled calls count as failures of the dependency",
        "nurseries/breaker.py",
        "            self._give_back(era)\n            raise\n",
        "            self._record(era, failed=True)\n            raise\n",
        BREAKER,
    ),
    Planted(
        "half-open lets one call too many through",
        "nurseries/breaker.py",
        "self._permits, self._successes = self.policy.probes, 0",
        "self._permits, self._successes = self.policy.probes + 1, 0",
        BREAKER,
    ),
    Planted(
        "late outcomes of an earlier state count",
        "nurseries/breaker.py",
        "        if era != self._era:\n            return\n        now",
        "        now",
        BREAKER,
    ),
)
