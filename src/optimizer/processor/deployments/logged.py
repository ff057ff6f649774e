"""The off-policy gate: the newest part of the log, evaluated as if the candidate had served everybody."""

import trio

from optimizer.core import records
from optimizer.core.assignment import parse
from optimizer.core.fold import State
from optimizer.core.offpolicy import DeploymentRule, GateAnswer, judge_deployment
from optimizer.core.replay import Line
from optimizer.core.whatif import Proposal, WhatIf
from optimizer.model import NotFound
from optimizer.processor.registry import Registry
from optimizer.storage import Store
from optimizer.storage.protocols import Entry

RECENT = 20_000  # entries of the log that are looked at: some megabytes, some hundred milliseconds
BATCH = 200  # entries between two checkpoints: about two milliseconds


async def ask_gate(store: Store, registry: Registry, service: str, candidate: str, rule: DeploymentRule) -> GateAnswer:
    """What the newest logged choices of the service say about serving `candidate` to everybody, by quality.

    Raises StorageUnavailable.
    """
    found = WhatIf(Proposal(service, {candidate: 1.0}))
    after = max(await store.end() - RECENT, 0)
    asked: set[int] = set()
    while entries := await store.read(after, BATCH):
        for entry in entries:
            if entry.kind == records.FEEDBACK and entry.key == service:
                await _add_policy(found, registry, entry, asked)
                found.see(Line(entry.offset, entry.kind, entry.payload), State())
        after = entries[-1].offset
        await trio.lowlevel.checkpoint()
    return judge_deployment(found.evaluate().get("quality"), rule)


async def _add_policy(found: WhatIf, registry: Registry, entry: Entry, asked: set[int]) -> None:
    """Look up the policy that the call was drawn from, once; it may be much older than the call."""
    event = records.decode_feedback(entry.payload)
    if event.assignment_id is None:
        return
    version = parse(event.assignment_id).policy_version
    if version in asked:
        return
    asked.add(version)
    try:
        found.know(await registry.policy(event.service, version))
    except NotFound:
        return  # of a service that was withdrawn and declared again: the choice is left out
