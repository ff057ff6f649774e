"""One optimization session: START, queries answered with suggestions, feedback, PAUSE and RESUME, END."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from optimizer.grpc_api.convert.optimizations import to_decision, to_suggested
from optimizer.grpc_api.handling import Call
from optimizer.grpc_api.pb import optimization_pb2 as pb
from optimizer.model import FailedPrecondition, InvalidArgument, NotFound, ParameterChange, Service
from optimizer.processor.optimizations import Optimizations, Proposal, Suggestion, suggest
from optimizer.processor.optimizations.evidence import VariantRecord

Control = pb.OptimizationSessionControl
HELD = 100
"""Queries that wait while a session is paused, and suggestions that wait for an answer."""


class Session:
    """Suggestions come from what was measured. Accepting one creates a pending optimization; refusing it asks again."""

    def __init__(
        self,
        call: Call[pb.OptimizationSessionMessage, pb.OptimizationSessionMessage],
        optimizations: Optimizations,
        services: Callable[[], Mapping[str, Service]],
        records: Callable[[str], Mapping[str, VariantRecord]],
        *,
        by: str,
    ) -> None:
        self._call = call
        self._optimizations = optimizations
        self._services = services
        self._records = records
        self._by = by
        self._id = ""
        self._paused = False
        self._held: list[pb.OptimizationQuery] = []
        self._count = 0
        self._open: dict[str, tuple[Proposal, tuple[str, ...]]] = {}
        self._refused: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Answer until END or until the client ends its side.

        Raises FailedPrecondition for anything before START, InvalidArgument, NotFound; each ends the session.
        """
        async for message in self._call:
            match message.WhichOneof("message"):
                case "control":
                    if await self._control(message.control):
                        return
                case "query":
                    await self._query(message.query)
                case "feedback":
                    await self._feedback(message.feedback)
                case _:
                    raise InvalidArgument("clients send query, feedback or control", field="message")

    async def _control(self, control: Any) -> bool:
        """Obey; true when the session has ended."""
        match control.type:
            case Control.CONTROL_TYPE_START:
                if self._id:
                    raise FailedPrecondition("the session has started already")
                self._id = control.session_id or f"session-{id(self._call):x}"
            case Control.CONTROL_TYPE_UNSPECIFIED:
                raise InvalidArgument("say which control", field="control.type")
            case _:
                self._require_started()
        self._paused = control.type == Control.CONTROL_TYPE_PAUSE
        reply = Control(type=control.type, session_id=self._id)
        await self._call.send_message(pb.OptimizationSessionMessage(control=reply))
        if control.type == Control.CONTROL_TYPE_RESUME:
            held, self._held = self._held, []
            for query in held:
                await self._query(query)
        return bool(control.type == Control.CONTROL_TYPE_END)

    async def _query(self, query: pb.OptimizationQuery) -> None:
        self._require_started()
        if self._paused:
            if len(self._held) >= HELD:
                raise FailedPrecondition(f"{HELD} queries wait already: resume the session first")
            self._held.append(query)
            return
        declared = self._services()
        for name in query.target_services or sorted(declared):
            if name not in declared:
                raise NotFound(f"service {name[:128]!r} is not declared")
            await self._suggest(declared[name], tuple(query.focus_areas))

    async def _suggest(self, service: Service, focus: tuple[str, ...]) -> None:
        refused = frozenset(self._refused.get(service.name, ()))
        found = suggest(service, self._records(service.name), focus, refused)
        self._count += 1
        name = f"{self._id}/{self._count}"
        if found.proposal is not None:
            while len(self._open) >= HELD:
                del self._open[next(iter(self._open))]
            self._open[name] = (found.proposal, focus)
        await self._send(name, found, None if found.proposal is None else to_suggested(found.proposal))

    async def _feedback(self, feedback: pb.OptimizationFeedback) -> None:
        self._require_started()
        known = self._open.pop(feedback.suggestion_id, None)
        if known is None:
            raise NotFound(f"no open suggestion {feedback.suggestion_id[:128]!r}")
        proposal, focus = known
        (name,) = proposal.target_services
        if not feedback.accepted:
            self._refused.setdefault(name, set()).add(proposal.metadata["variant"])
            declared = self._services()
            if name in declared:
                await self._suggest(declared[name], focus)
            return
        adjusted = _adjust(proposal, feedback)
        made = await self._optimizations.create(adjusted, by=self._by)
        said = Suggestion(proposal=adjusted, explanation=f"created as {made.id}", confidence=_confidence(adjusted))
        await self._send(feedback.suggestion_id, said, to_decision(made))

    async def _send(self, name: str, found: Suggestion, decision: pb.OptimizationDecision | None) -> None:
        suggestion = pb.OptimizationSuggestion(
            suggestion_id=name,
            proposed_decision=decision,
            explanation=found.explanation,
            confidence_score=found.confidence if found.confidence is not None else float("nan"),
            alternatives=found.alternatives,
        )
        await self._call.send_message(pb.OptimizationSessionMessage(suggestion=suggestion))

    def _require_started(self) -> None:
        if not self._id:
            raise FailedPrecondition("begin a session with control START")


def _confidence(proposal: Proposal) -> float | None:
    """Adjusted or not, only what was measured has a confidence."""
    return None if proposal.expected_impact is None else proposal.expected_impact.confidence


def _adjust(proposal: Proposal, feedback: pb.OptimizationFeedback) -> Proposal:
    """The proposal with the client's own values. The measured impact belongs to the values as they were suggested."""
    metadata = (
        {**proposal.metadata, "feedback": feedback.feedback_text} if feedback.feedback_text else proposal.metadata
    )
    if not feedback.adjustments:
        return msgspec.structs.replace(proposal, metadata=metadata)
    changes = {change.parameter: change for change in proposal.changes}
    for name, value in sorted(feedback.adjustments.items()):
        known = changes.get(name, ParameterChange(parameter=name, change_type="add"))
        kind = "replace" if known.change_type == "remove" else known.change_type
        changes[name] = msgspec.structs.replace(known, new_value=value, change_type=kind)
    return msgspec.structs.replace(proposal, changes=tuple(changes.values()), expected_impact=None, metadata=metadata)
