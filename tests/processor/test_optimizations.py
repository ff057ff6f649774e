"""Optimizations: what is created is found, validated against what is declared, and suggested from what is known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.model import (
    Bound,
    FailedPrecondition,
    Impact,
    InvalidArgument,
    NotFound,
    Objective,
    ParameterChange,
    Service,
    Variant,
)
from optimizer.processor.optimizations import Proposal, Selection, suggest
from optimizer.processor.optimizations.evidence import VariantRecord, apply_changes, changes_from, text_of, value_of
from optimizer.storage import MemoryState
from tests.processor.rooms import Rooms, drain, following, open_rooms

PROPOSAL = Proposal(
    strategy="cost_performance_scoring",
    target_services=("chat",),
    changes=(ParameterChange(parameter="model", old_value="large", new_value="small"),),
    rationale="cheaper",
)
CHAT = Service(
    name="chat",
    objective=Objective(goal="minimize_cost"),
    variants=(
        Variant(name="a", config={"model": "large", "temperature": 0}),
        Variant(name="b", config={"model": "small", "temperature": 0}),
        Variant(name="c", config={"model": "tiny", "temperature": 0}),
    ),
    baseline="a",
)


def record(cost: float | None, quality: float | None, *, calls: int = 1000, latency: float = 100.0) -> VariantRecord:
    error = None if quality is None else 0.01
    return VariantRecord(calls=calls, cost_usd=cost, latency_ms=latency, quality=quality, quality_error=error)


def know(rooms: Rooms) -> None:
    rooms.services["chat"] = CHAT
    rooms.records["chat"] = {"a": record(0.02, 0.9), "b": record(0.01, 0.91), "c": record(0.001, 0.5)}


async def test_what_is_created_is_found_after_a_restart() -> None:
    state = MemoryState()
    async with open_rooms(state) as rooms:
        made = await rooms.optimizations.create(PROPOSAL, by="ann")
        assert made.status == "pending"
    async with open_rooms(state) as rooms:
        assert await rooms.optimizations.get(made.id) == made


async def test_a_dry_run_stores_nothing() -> None:
    async with open_rooms() as rooms:
        with following(rooms.news.optimizations) as heard:
            made = await rooms.optimizations.create(PROPOSAL, by="ann", dry_run=True)
            assert drain(heard) == []
        with pytest.raises(NotFound):
            await rooms.optimizations.get(made.id)


@pytest.mark.parametrize("optimization_id", ["", "x", "../flags/a", "a/b", "x" * 2000, "é"])
async def test_an_id_that_names_nothing(optimization_id: str) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(NotFound):
            await rooms.optimizations.get(optimization_id)


@pytest.mark.parametrize(
    "proposal",
    [
        msgspec.structs.replace(PROPOSAL, target_services=()),
        msgspec.structs.replace(PROPOSAL, target_services=("a b",)),
        msgspec.structs.replace(PROPOSAL, target_services=("a", "a")),
        msgspec.structs.replace(PROPOSAL, changes=(ParameterChange(parameter="", new_value="x"),)),
        msgspec.structs.replace(PROPOSAL, changes=(ParameterChange(parameter="a"),)),
        msgspec.structs.replace(PROPOSAL, changes=PROPOSAL.changes * 2),
        msgspec.structs.replace(PROPOSAL, expected_impact=Impact(confidence=1.5)),
        msgspec.structs.replace(PROPOSAL, expected_impact=Impact(cost_reduction_pct=float("nan"))),
        msgspec.structs.replace(PROPOSAL, constraints=(Bound(constraint_type="", value="1"),)),
    ],
)
async def test_a_proposal_that_cannot_be(proposal: Proposal) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(InvalidArgument):
            await rooms.optimizations.create(proposal, by="ann")
        assert await rooms.optimizations.select(Selection()) == []


async def test_selection_honours_every_filter_and_is_newest_first() -> None:
    async with open_rooms() as rooms:
        made = [
            await rooms.optimizations.create(
                msgspec.structs.replace(PROPOSAL, strategy=strategy, target_services=(service,)), by="ann"
            )
            for strategy in ("hybrid", "ab_testing")
            for service in ("x", "y")
        ]
        await rooms.optimizations.cancel(made[0].id, by="ann", reason="no")

        async def ids(selection: Selection) -> list[str]:
            return [found.id for found in await rooms.optimizations.select(selection)]

        assert await ids(Selection()) == [each.id for each in reversed(made)]
        assert await ids(Selection(statuses=frozenset({"cancelled"}))) == [made[0].id]
        assert await ids(Selection(strategies=frozenset({"ab_testing"}), service="y")) == [made[3].id]
        assert await ids(Selection(start=made[1].created_at, end=made[2].created_at)) == [made[1].id]


async def test_many_are_all_selected() -> None:
    async with open_rooms() as rooms:
        for _ in range(1_200):
            await rooms.optimizations.create(PROPOSAL, by="ann")
        assert len(await rooms.optimizations.select(Selection())) == 1_200


async def test_cancelling_is_for_what_is_not_deployed() -> None:
    async with open_rooms() as rooms:
        made = await rooms.optimizations.create(PROPOSAL, by="ann")
        with following(rooms.news.optimizations) as heard:
            cancelled = await rooms.optimizations.cancel(made.id, by="bob", reason="late")
            (change,) = drain(heard)
        assert cancelled.status == change.optimization.status == "cancelled"
        assert cancelled.metadata["cancelled_by"] == "bob"
        with pytest.raises(FailedPrecondition):
            await rooms.optimizations.cancel(made.id, by="bob", reason="again")
        deployed = await rooms.optimizations.create(PROPOSAL, by="ann")
        await rooms.optimizations.change(
            deployed.id, lambda now: msgspec.structs.replace(now, status="deployed"), "deployed"
        )
        with pytest.raises(FailedPrecondition, match="roll it back"):
            await rooms.optimizations.cancel(deployed.id, by="bob", reason="")


async def test_validation_against_what_is_not_declared() -> None:
    async with open_rooms() as rooms:
        made = await rooms.optimizations.create(PROPOSAL, by="ann")
        outcome = await rooms.optimizations.validate(made.id, rooms.knowledge, dry_run=True)
        assert [error.code for error in outcome.errors] == ["NOT_FOUND"]
        assert (await rooms.optimizations.get(made.id)).status == "pending"
        await rooms.optimizations.validate(made.id, rooms.knowledge, dry_run=False)
        assert (await rooms.optimizations.get(made.id)).status == "validation_failed"


async def test_validation_brings_the_measured_impact() -> None:
    async with open_rooms() as rooms:
        know(rooms)
        made = await rooms.optimizations.create(PROPOSAL, by="ann")
        outcome = await rooms.optimizations.validate(made.id, rooms.knowledge, dry_run=False)
        assert outcome.valid
        assert outcome.revised_impact is not None
        assert outcome.revised_impact.cost_reduction_pct == pytest.approx(50)
        assert outcome.revised_impact.quality_delta_pct == pytest.approx(100 * 0.01 / 0.9)
        assert outcome.revised_impact.confidence == pytest.approx(0.760, abs=0.001)
        assert (await rooms.optimizations.get(made.id)).expected_impact == outcome.revised_impact


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (ParameterChange(parameter="model", old_value="other", new_value="small"), "FAILED_PRECONDITION"),
        (ParameterChange(parameter="top_p", new_value="1", change_type="update"), "FAILED_PRECONDITION"),
        (ParameterChange(parameter="top_p", change_type="remove"), "FAILED_PRECONDITION"),
        (ParameterChange(parameter="model", new_value="small", change_type="add"), "FAILED_PRECONDITION"),
    ],
)
async def test_changes_that_do_not_fit_the_baseline(change: ParameterChange, code: str) -> None:
    async with open_rooms() as rooms:
        know(rooms)
        made = await rooms.optimizations.create(msgspec.structs.replace(PROPOSAL, changes=(change,)), by="ann")
        outcome = await rooms.optimizations.validate(made.id, rooms.knowledge, dry_run=True)
        assert [error.code for error in outcome.errors] == [code]


@pytest.mark.parametrize(("hard", "errors", "warnings"), [(True, 1, 0), (False, 0, 1)])
async def test_a_broken_constraint_is_an_error_when_hard(hard: bool, errors: int, warnings: int) -> None:
    bound = Bound(constraint_type="max_quality_drop_pct", value="3", hard=hard)
    to_tiny = ParameterChange(parameter="model", old_value="large", new_value="tiny")
    async with open_rooms() as rooms:
        know(rooms)
        proposal = msgspec.structs.replace(PROPOSAL, constraints=(bound,), changes=(to_tiny,))
        made = await rooms.optimizations.create(proposal, by="ann")
        outcome = await rooms.optimizations.validate(made.id, rooms.knowledge, dry_run=True)
        assert (len(outcome.errors), len(outcome.warnings)) == (errors, warnings)


def test_the_suggestion_saves_cost_without_losing_quality() -> None:
    found = suggest(CHAT, {"a": record(0.02, 0.9), "b": record(0.01, 0.91), "c": record(0.001, 0.5)})
    assert found.proposal is not None
    assert found.proposal.metadata["variant"] == "b"
    assert found.proposal.changes == (ParameterChange(parameter="model", old_value="large", new_value="small"),)
    assert "50.0 % better in cost" in found.explanation


def test_a_refused_variant_is_not_suggested_again() -> None:
    records = {"a": record(0.02, 0.9), "b": record(0.01, 0.91), "c": record(0.001, 0.92)}
    assert suggest(CHAT, records).alternatives == ("b",)
    again = suggest(CHAT, records, without=frozenset({"c"}))
    assert again.proposal is not None
    assert again.proposal.metadata["variant"] == "b"


@pytest.mark.parametrize(
    "records",
    [
        {},
        {"a": record(0.02, 0.9, calls=5), "b": record(0.01, 0.9)},
        {"a": record(0.02, 0.9), "b": record(0.01, 0.9, calls=5)},
        {"a": record(None, 0.9), "b": record(None, 0.95)},
        {"a": record(0.02, 0.9), "b": record(0.01, 0.7)},
    ],
)
def test_without_evidence_nothing_is_suggested(records: dict[str, VariantRecord]) -> None:
    found = suggest(CHAT, records)
    assert found.proposal is None
    assert found.explanation


@pytest.mark.parametrize(("focus", "gain"), [("latency", "30.0 %"), ("quality", "1.1 %")])
def test_focus_changes_the_ranking(focus: str, gain: str) -> None:
    records = {"a": record(0.02, 0.9), "b": record(0.01, 0.91, latency=70)}
    assert gain in suggest(CHAT, records, [focus]).explanation


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
configs = st.dictionaries(st.text(min_size=1), scalars, max_size=6)


@given(configs, configs)
def test_changes_lead_from_one_configuration_to_the_other(before: dict[str, object], after: dict[str, object]) -> None:
    assert apply_changes(before, changes_from(before, after)) == after


@given(scalars)
def test_a_value_survives_its_text(value: object) -> None:
    assert value_of(text_of(value)) == value
