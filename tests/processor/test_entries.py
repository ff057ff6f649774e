"""Configuration entries: versions, scopes, secrets, writers that race."""

import pytest
import trio

from optimizer.model import Conflict, InvalidArgument, NotFound, Scope
from optimizer.processor.entries import MASK, Draft, export_entries, masked, read_entries
from optimizer.processor.entries.entries import KEPT
from optimizer.storage import MemoryState
from tests.processor.rooms import drain, following, open_rooms

GLOBAL = Scope()


async def test_an_entry_is_kept_over_a_restart() -> None:
    state = MemoryState()
    async with open_rooms(state) as rooms:
        await rooms.entries.set(GLOBAL, Draft(key="a.b", value="1", type="int"), by="ann")
    async with open_rooms(state) as rooms:
        entry = await rooms.entries.get(GLOBAL, "a.b")
        assert (entry.value, entry.type, entry.updated_by) == ("1", "int", "ann")


async def test_replacing_keeps_the_time_of_creation() -> None:
    async with open_rooms() as rooms:
        first = await rooms.entries.set(GLOBAL, Draft(key="a", value="1"), by="ann")
        second = await rooms.entries.set(GLOBAL, Draft(key="a", value="2"), by="bob")
        assert second.created_at == first.created_at < second.updated_at
        assert second.updated_by == "bob"


async def test_scopes_do_not_see_each_other() -> None:
    async with open_rooms() as rooms:
        scopes = [GLOBAL, Scope("service", "a"), Scope("service", "b"), Scope("user", "a"), Scope("environment", "a")]
        for i, scope in enumerate(scopes):
            await rooms.entries.set(scope, Draft(key="k", value=str(i)), by="ann")
        assert [(await rooms.entries.get(scope, "k")).value for scope in scopes] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "draft",
    [
        Draft(key="", value=""), Draft(key="a b", value=""), Draft(key="x" * 300, value=""),
        Draft(key="a", value="x", type="int"), Draft(key="a", value="nan", type="float"),
        Draft(key="a", value="inf", type="float"), Draft(key="a", value="yes", type="bool"),
        Draft(key="a", value="{", type="json"), Draft(key="a", value="NaN", type="json"),
        Draft(key="a", value="[" * 100_000, type="json"), Draft(key="a", value="x", type="date"),
        Draft(key="a", value="x" * 70_000), Draft(key="a", value=MASK), Draft(key="a", value="٣", type="int"),
    ],
)  # fmt: skip
async def test_a_bad_draft_is_refused_and_changes_nothing(draft: Draft) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(InvalidArgument):
            await rooms.entries.set(GLOBAL, draft, by="ann")
        assert await rooms.entries.versions(GLOBAL) == []


@pytest.mark.parametrize("scope", [Scope("global", "x"), Scope("service"), Scope("user", "a/b"), Scope("user", "é")])
async def test_a_bad_scope_is_refused(scope: Scope) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(InvalidArgument):
            await rooms.entries.get(scope, "a")


async def test_deleting_what_is_not_there() -> None:
    async with open_rooms() as rooms:
        with pytest.raises(NotFound):
            await rooms.entries.delete(GLOBAL, "a", by="ann")


async def test_every_change_is_a_version_and_any_can_be_restored() -> None:
    async with open_rooms() as rooms:
        for value in ("1", "2"):
            await rooms.entries.set(GLOBAL, Draft(key="a", value=value), by="ann")
        await rooms.entries.delete(GLOBAL, "a", by="ann")
        assert [version.id for version in await rooms.entries.versions(GLOBAL)] == ["v3", "v2", "v1"]
        assert (await rooms.entries.version(GLOBAL, "v1")).entries["a"].value == "1"
        reverted = await rooms.entries.revert(GLOBAL, "v2", by="bob", reason="oops")
        assert (reverted.id, reverted.created_by) == ("v4", "bob")
        assert (await rooms.entries.get(GLOBAL, "a")).value == "2"


@pytest.mark.parametrize("version_id", ["", "v0", "v2", "v-1", "x", "v" + "9" * 40, "v٣"])
async def test_a_version_that_never_was(version_id: str) -> None:
    async with open_rooms() as rooms:
        await rooms.entries.set(GLOBAL, Draft(key="a", value="1"), by="ann")
        with pytest.raises(NotFound):
            await rooms.entries.version(GLOBAL, version_id)


async def test_old_versions_are_dropped_beyond_the_bound() -> None:
    async with open_rooms() as rooms:
        for i in range(KEPT + 20):
            await rooms.entries.set(GLOBAL, Draft(key="a", value=str(i)), by="ann")
        versions = await rooms.entries.versions(GLOBAL)
        assert len(versions) == KEPT + 1
        assert versions[-1].number == 20
        with pytest.raises(NotFound):
            await rooms.entries.version(GLOBAL, "v1")


async def test_subscribers_hear_of_changes_and_never_see_a_secret() -> None:
    async with open_rooms() as rooms:
        with following(rooms.news.entries) as heard:
            await rooms.entries.set(GLOBAL, Draft(key="token", value="hunter2", sensitive=True), by="ann", reason="new")
            await rooms.entries.set(GLOBAL, Draft(key="token", value="hunter3", sensitive=True), by="ann")
            await rooms.entries.set(GLOBAL, Draft(key="token", value="hunter3", sensitive=True), by="ann")
            await rooms.entries.delete(GLOBAL, "token", by="ann")
            changes = drain(heard)
        assert [(change.old_value, change.new_value) for change in changes] == [
            (None, MASK),
            (MASK, MASK),
            (MASK, None),
        ]
        assert changes[0].reason == "new"
        assert "hunter" not in repr(changes)


async def test_writers_that_race_lose_nothing() -> None:
    async with open_rooms() as rooms, trio.open_nursery() as nursery:

        async def write(name: str) -> None:
            for i in range(5):
                try:
                    await rooms.entries.set(GLOBAL, Draft(key=f"{name}.{i}", value=name), by=name)
                except Conflict:  # told, not swallowed: the writer may try again
                    await rooms.entries.set(GLOBAL, Draft(key=f"{name}.{i}", value=name), by=name)

        for name in "abc":
            nursery.start_soon(write, name)
        with trio.fail_after(5):
            while len(await rooms.entries.select(GLOBAL)) < 15:
                await trio.lowlevel.checkpoint()
        assert (await rooms.entries.current(GLOBAL)).number == 15


@pytest.mark.parametrize("form", ["json", "yaml", "toml"])
async def test_an_export_reads_back(form: str) -> None:
    drafts = [
        Draft(key="a", value='é\n"x"', description="text"),
        Draft(key="b", value="1.5", type="float", metadata={"unit": "s"}),
        Draft(key="secret", value="hunter2", sensitive=True),
    ]
    async with open_rooms() as rooms:
        await rooms.entries.set_many(GLOBAL, drafts, by="ann")
        entries = await rooms.entries.select(GLOBAL)
        assert read_entries(export_entries(entries, form, include_sensitive=True), form) == drafts
        shown = export_entries(entries, form, include_sensitive=False)
        assert b"hunter2" not in shown
        outcome = await rooms.entries.set_many(GLOBAL, read_entries(shown, form), by="bob")
        assert (outcome.created, outcome.updated, [error.field for error in outcome.errors]) == (0, 2, ["secret"])
        assert (await rooms.entries.get(GLOBAL, "secret")).value == "hunter2"


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("json", b"{"), ("json", b"\xff"), ("json", b"[]"), ("json", b'{"entries": []}'), ("json", b"[" * 100_000),
        ("yaml", b"a: [}"), ("yaml", b"!!python/object:os.system {}"), ("toml", b"="), ("xml", b"<a/>"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read(form: str, data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read_entries(data, form)


def test_one_bad_entry_of_a_document_is_named() -> None:
    outcomes = read_entries(b'{"entries": {"a": "1", "b": 2, "c": {"value": "x", "typ": "int"}}}', "json")
    assert outcomes[0] == Draft(key="a", value="1")
    assert [error.field for error in outcomes if isinstance(error, InvalidArgument)] == ["b", "c"]


async def test_without_merge_the_rest_goes() -> None:
    async with open_rooms() as rooms:
        await rooms.entries.set(GLOBAL, Draft(key="old", value="1"), by="ann")
        await rooms.entries.set_many(GLOBAL, [Draft(key="new", value="1")], by="ann", merge=False)
        assert [entry.key for entry in await rooms.entries.select(GLOBAL)] == ["new"]


async def test_masking() -> None:
    async with open_rooms() as rooms:
        entry = await rooms.entries.set(GLOBAL, Draft(key="a", value="hunter2", sensitive=True), by="ann")
        assert masked(entry).value == MASK
