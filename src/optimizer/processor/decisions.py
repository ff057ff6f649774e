"""The decision loop: looks at every service at an interval and proposes at most one change of each at a time.

A decision is an optimization whose document is durable before anything is done about it, written together with the
mark that says what was tried: the same change of a service is not proposed twice, also after a crash in between.
Deploying it is a person's approval (`DeployOptimization`), unless `auto_execute` is on.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
import trio

from optimizer.core.changes import changes_from
from optimizer.core.fold import ServiceState, State
from optimizer.core.rollout.plan import DEFAULT_STAGES
from optimizer.core.sketch import QuantileSketch
from optimizer.core.strategies import Idea, Profile, Situation, StrategySettings, propose
from optimizer.model import Conflict, Optimization, OptimizerError, StorageUnavailable
from optimizer.model.optimizations import Strategy
from optimizer.processor.administration import Flags
from optimizer.processor.deployments import Deployments
from optimizer.processor.optimizations import Optimizations, Proposal, Selection
from optimizer.processor.optimizations.target import baseline_config
from optimizer.storage import ABSENT, Put, Store

PREFIX = "decisions/"
EMERGENCY_STOP = "decisions.emergency_stop"
"""The feature flag that stops every decision at once: nothing is proposed and nothing is deployed by itself."""
BY = "decision loop"
WAITING = frozenset({"pending", "validating", "deploying", "monitoring"})
RUNNING = frozenset({"deploying", "monitoring"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """When the loop decides and how far it may go. Seconds; `repeat_s` is how long a tried change stays tried."""

    enabled: bool = True
    interval_s: float = 60.0
    min_gap_s: float = 300.0
    repeat_s: float = 7 * 86_400.0
    max_concurrent: int = 3
    auto_execute: bool = False
    profile: Profile = "balanced"
    strategies: tuple[Strategy, ...] = ("hybrid",)
    how: StrategySettings = field(default_factory=StrategySettings)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was proposed: its configuration, when, and the optimization."""

    config: dict[str, object]
    at: int
    optimization_id: str


_decode = msgspec.json.Decoder(Mark).decode


class DecisionLoop:
    """Proposes, and with `auto_execute` deploys what passes every gate."""

    def __init__(
        self,
        store: Store,
        state: State,
        optimizations: Optimizations,
        deployments: Deployments,
        flags: Flags,
        settings: Callable[[], LoopSettings],
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._state = state
        self._optimizations = optimizations
        self._deployments = deployments
        self._flags = flags
        self._settings = settings
        self._now = now

    async def run(self) -> None:
        """Decide at every interval, for ever. Storage that is away is waited for."""
        while True:
            await trio.sleep(self._settings().interval_s)
            if not self._settings().enabled:
                continue
            try:
                await self.decide()
            except StorageUnavailable as error:
                log.warning("decisions wait for storage", error=str(error))

    async def decide(self) -> list[Optimization]:
        """One round: deploys what it proposed before and may deploy, then proposes; what was proposed."""
        if await self._flags.enabled(EMERGENCY_STOP):
            return []
        settings = self._settings()
        waiting = await self._optimizations.select(Selection(statuses=WAITING))
        running = sum(found.status in RUNNING for found in waiting)
        if settings.auto_execute:
            for found in [each for each in waiting if each.status == "pending" and _ours(each)]:
                if running < settings.max_concurrent:
                    running += await self._execute(found)
        busy = {name for found in waiting for name in found.target_services}
        made: list[Optimization] = []
        for name in sorted(self._state.services):
            if running + len(made) >= settings.max_concurrent:
                break
            if name not in busy and name not in self._state.rollouts.active:
                made += await self._propose(name, settings)
            await trio.lowlevel.checkpoint()
        if settings.auto_execute:
            for found in made:
                await self._execute(found)
        return made

    async def _propose(self, name: str, settings: LoopSettings) -> list[Optimization]:
        marks = [_decode(document.body) for document in await self._store.scan(_prefix(name))]
        service, now = self._state.services.get(name), self._now()
        if service is None or any(now - mark.at < settings.min_gap_s * 1e6 for mark in marks):
            return []
        tried = [mark.config for mark in marks if now - mark.at < settings.repeat_s * 1e6]
        # The dice follow from what is known: looking twice at the same evidence gives the same idea.
        dice = random.Random(f"{name}/{service.revision}/{service.events}")
        ideas = propose(situation_of(service, tried), settings.strategies, settings.how, dice)
        return [] if not ideas else await self._keep(ideas[0], service, settings)

    async def _keep(self, idea: Idea, service: ServiceState, settings: LoopSettings) -> list[Optimization]:
        """Make the decision durable, together with its mark; nothing when another one was faster."""
        proposal = proposal_of(idea, service, settings)
        key = _prefix(idea.service) + hashlib.blake2b(_encoded(idea.config), digest_size=16).hexdigest()
        before = await self._store.get(key)
        expected = ABSENT if before is None else before.version

        def mark(made: Optimization) -> Put:
            body = msgspec.json.encode(Mark(config=idea.config, at=self._now(), optimization_id=made.id))
            return Put(key=key, body=body, expected=expected)

        try:
            return [await self._optimizations.create(proposal, by=BY, beside=mark)]
        except Conflict:
            return []

    async def _execute(self, found: Optimization) -> bool:
        """Validate, and deploy when nothing speaks against it and the log is not silent; whether it was deployed.

        What the off-policy gate only asks about waits for a person, unless the profile is aggressive.
        """
        try:
            outcome = await self._deployments.validate(found.id, dry_run=False)
            asks = bool(outcome.warnings) and self._settings().profile != "aggressive"
            if not outcome.valid or asks:
                return False
            await self._deployments.deploy(found.id, by=BY, stages=DEFAULT_STAGES)
        except StorageUnavailable:
            raise
        except OptimizerError as error:
            log.info("a decision was not deployed", optimization=found.id, error=str(error))
            return False
        return True


def situation_of(service: ServiceState, tried: Sequence[dict[str, object]]) -> Situation:
    """What the strategies look at, from the fold's state."""
    latency: dict[str, QuantileSketch] = {}
    for (_, variant), cell in sorted(service.cells.items()):
        latency.setdefault(variant, QuantileSketch()).merge(cell.latency)
    evidence = {key: cell.evidence for key, cell in service.cells.items()}
    return Situation(service=service.declaration, evidence=evidence, latency=latency, tried=tried)


def proposal_of(idea: Idea, service: ServiceState, settings: LoopSettings) -> Proposal:
    """The idea as an optimization; which strategy of a hybrid had it is in the metadata."""
    hybrid = "hybrid" in settings.strategies
    return Proposal(
        strategy="hybrid" if hybrid else idea.strategy,
        target_services=(idea.service,),
        changes=changes_from(baseline_config(service.declaration), idea.config),
        rationale=f"{idea.rationale}. Checked: {'; '.join(idea.checked)}"[:4_096],
        expected_impact=idea.impact,
        metadata={
            "source": idea.strategy,
            "profile": settings.profile,
            "variant": idea.candidate or "",
            "events": str(service.events),
            "revision": str(service.revision),
        },
    )


def _ours(found: Optimization) -> bool:
    return found.metadata.get("created_by") == BY


def _prefix(service: str) -> str:
    return f"{PREFIX}{hashlib.blake2b(service.encode(), digest_size=16).hexdigest()}/"


def _encoded(config: dict[str, object]) -> bytes:
    return msgspec.json.encode(config, order="deterministic")
