"""What is asked before an optimization is deployed, and when it is validated: the same questions."""

from collections.abc import Sequence

from optimizer.core.offpolicy import DeploymentRule
from optimizer.model import InvalidArgument, Optimization, OptimizerError, Service
from optimizer.processor.deployments.logged import ask_gate
from optimizer.processor.optimizations import Finding, Knowledge, Terms, plan_rollout, plan_step
from optimizer.processor.optimizations.evidence import records_of
from optimizer.processor.optimizations.target import find_target
from optimizer.processor.registry import Registry
from optimizer.processor.rollouts import RolloutDesk
from optimizer.storage import Store

OVERRULED = frozenset({"CONSTRAINT", "GATE", "FAILED_PRECONDITION"})
"""Findings that `force` overrules: the evidence, and a baseline that is not as the changes expected it. What cannot be
done cannot be forced."""
RULE = DeploymentRule()


class Gatekeeper:
    """Asks the declarations, the rollouts under way and the logged choices."""

    def __init__(self, store: Store, registry: Registry, desk: RolloutDesk, terms: Terms) -> None:
        self._store = store
        self._registry = registry
        self._desk = desk
        self._terms = terms
        self.knowledge = Knowledge(
            lambda: {service.name: service for service in registry.list()},
            lambda name: records_of(registry.report(name)),
        )

    async def ask(self, found: Optimization) -> tuple[Sequence[Finding], Sequence[str]]:
        """Errors and warnings: whether its rollouts could begin now, and what the log says about its candidates.

        Raises StorageUnavailable.
        """
        errors: list[Finding] = []
        warnings: list[str] = []
        declared = {service.name: service for service in self._registry.list()}
        for name in found.target_services:
            if name not in declared:
                continue  # said by validation itself
            problem = self._problem(declared[name], found)
            if problem is not None:
                errors.append(problem)
                continue
            target = find_target(declared[name], found.changes)
            if target.name is None:
                continue  # no log can know it; validation warns that there is no evidence
            answer = await ask_gate(self._store, self._registry, name, target.name, RULE)
            reasons = f"{name}: off-policy gate: {'; '.join(answer.reasons)}"
            if answer.answer == "block":
                errors.append(Finding(code="GATE", message=reasons, field="changes"))
            elif answer.answer == "ask":
                warnings.append(reasons)
        return errors, warnings

    def _problem(self, service: Service, found: Optimization) -> Finding | None:
        """Why its rollout could not begin now."""
        try:
            self._desk.admit(plan_rollout(plan_step(service, found, ""), (100.0,), found.constraints, self._terms))
        except InvalidArgument as error:
            return Finding(code="INVALID_ARGUMENT", message=str(error), field="changes")
        except OptimizerError as error:
            return Finding(code="CONFLICT", message=str(error), field="target_services")
        return None
