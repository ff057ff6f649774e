"""ConfigService through an unmodified client."""

import json

import grpc
import trio

from tests.grpc_api.services.conftest import Stack

MASK = "********"


async def test_an_entry_from_birth_to_death(stack: Stack) -> None:
    config = stack.stub("config")
    scope = {"scope": config.pb.CONFIG_SCOPE_SERVICE, "scope_id": "chat"}
    made = await config.call("SetConfig", key="max_tokens", value="100", type="int", description="bound", **scope)
    assert (made.entry.value, made.entry.updated_by, made.entry.description) == ("100", "admin-user", "bound")
    assert made.status.status == 1
    found = await config.call("GetConfig", key="max_tokens", **scope)
    assert found.entry == made.entry
    listed = await config.call("ListConfig", key_prefix="max", **scope)
    assert ([entry.key for entry in listed.entries], listed.pagination.total_items) == (["max_tokens"], 1)
    assert await config.fails("GetConfig", key="max_tokens") is grpc.StatusCode.NOT_FOUND
    await config.call("DeleteConfig", key="max_tokens", **scope)
    assert await config.fails("GetConfig", key="max_tokens", **scope) is grpc.StatusCode.NOT_FOUND
    assert await config.fails("DeleteConfig", key="max_tokens", **scope) is grpc.StatusCode.NOT_FOUND


async def test_what_is_wrong_is_named(stack: Stack) -> None:
    config = stack.stub("config")
    error = await config.failure("SetConfig", key="a", value="x", type="int")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an integer" in error.details()
    assert await config.fails("SetConfig", key="", value="x") is grpc.StatusCode.INVALID_ARGUMENT
    assert await config.fails("GetConfig", key="a", scope=2) is grpc.StatusCode.INVALID_ARGUMENT
    assert await config.fails("GetConfig", key="a", scope=77) is grpc.StatusCode.INVALID_ARGUMENT


async def test_sensitive_values_are_masked_everywhere(stack: Stack) -> None:
    config = stack.stub("config")
    made = await config.call("SetConfig", key="token", value="hunter2", sensitive=True)
    answers = [
        made,
        await config.call("GetConfig", key="token"),
        await config.call("ListConfig"),
        await config.call("GetConfigVersion", version_id="v1"),
        await config.call("ExportConfig"),
    ]
    assert all(b"hunter2" not in answer.SerializeToString() for answer in answers)
    assert answers[1].entry.value == MASK
    shown = await config.call("ExportConfig", include_sensitive=True)
    assert json.loads(shown.config_data)["entries"]["token"]["value"] == "hunter2"
    writer = stack.stub("config", "write")
    assert await writer.fails("ExportConfig", include_sensitive=True) is grpc.StatusCode.PERMISSION_DENIED


async def test_versions_and_revert(stack: Stack) -> None:
    config = stack.stub("config")
    for value in ("1", "2", "3"):
        await config.call("SetConfig", key="a", value=value)
    listed = await config.call("ListConfigVersions", pagination={"page": 1, "page_size": 2})
    assert [version.version_id for version in listed.versions] == ["v3", "v2"]
    assert (listed.pagination.total_items, listed.pagination.total_pages) == (3, 2)
    old = await config.call("GetConfigVersion", version_id="v1")
    assert old.version.entries["a"].value == "1"
    reverted = await config.call("RevertConfigVersion", version_id="v1", reason="back")
    assert (reverted.version.version_number, reverted.version.entries["a"].value) == (4, "1")
    assert (await config.call("GetConfig", key="a")).entry.value == "1"
    assert await config.fails("RevertConfigVersion", version_id="v99") is grpc.StatusCode.NOT_FOUND


async def test_export_and_import(stack: Stack) -> None:
    config = stack.stub("config")
    await config.call("SetConfig", key="a", value="1", type="int")
    await config.call("SetConfig", key="b", value="x")
    for form in ("json", "yaml", "toml"):
        exported = await config.call("ExportConfig", format=form)
        assert exported.format == form
        target = {"scope": config.pb.CONFIG_SCOPE_ENVIRONMENT, "scope_id": form}
        outcome = await config.call("ImportConfig", config_data=exported.config_data, format=form, merge=True, **target)
        assert (outcome.imported_count, outcome.updated_count, outcome.failed_count) == (2, 0, 0)
        assert (await config.call("GetConfig", key="a", **target)).entry.type == "int"
    outcome = await config.call(
        "ImportConfig", config_data=b'{"entries": {"a": {"value": "no", "type": "int"}, "c": "2"}}', merge=True
    )
    assert (outcome.imported_count, outcome.failed_count, outcome.errors[0].field) == (1, 1, "a")
    assert outcome.status.status == 2
    assert await config.fails("ImportConfig", config_data=b"{", format="json") is grpc.StatusCode.INVALID_ARGUMENT


async def test_watchers_see_what_they_asked_for(stack: Stack) -> None:
    config = stack.stub("config")
    everything = config.subscribed("WatchConfig")
    some = config.subscribed("WatchConfig", keys=["b"], scope=config.pb.CONFIG_SCOPE_GLOBAL)
    async with everything as first, some as second:
        await config.call("SetConfig", key="a", value="1")
        await config.call("SetConfig", key="b", value="1", scope=2, scope_id="chat")
        await config.call("SetConfig", key="b", value="2")
        seen = [await first.next() for _ in range(3)]
        assert [(event.key, event.scope, event.new_value) for event in seen] == [
            ("a", 1, "1"),
            ("b", 2, "1"),
            ("b", 1, "2"),
        ]
        only = await second.next()
        assert (only.key, only.new_value, only.changed_by) == ("b", "2", "admin-user")
        assert only.timestamp.seconds > 0


async def test_a_batch_harms_only_its_bad_items(stack: Stack) -> None:
    config = stack.stub("config")
    update = config.pb.BatchConfigUpdate
    batch = [
        update(key="a", value="1"),
        update(key="b", value="x", type="int"),
        update(key="c", value="3", scope=2, scope_id="chat"),
        update(key="d", value="4", scope=99),
        update(key="e", value="5", scope=2),
    ]
    outcome = await config.call("BatchUpdateConfig", iter(batch))
    assert (outcome.successful, outcome.failed, len(outcome.errors)) == (2, 3, 3)
    assert (await config.call("GetConfig", key="c", scope=2, scope_id="chat")).entry.value == "3"
    empty = await config.call("BatchUpdateConfig", iter([]))
    assert (empty.successful, empty.failed) == (0, 0)


async def test_the_settings_are_shown_without_their_secrets(stack: Stack) -> None:
    config = stack.stub("config")
    secret = {"security": {"jwt_secret": "s" * 40}, "storage": {"postgres_url": "postgres://u:pw@h/db"}}
    stack.operated.settings.set(type(stack.operated.file).model_validate(secret))
    shown = await config.call("GetOptimizerConfig")
    assert b"s" * 40 not in shown.SerializeToString()
    assert shown.config.database.connection_string == MASK
    assert shown.config.service.service_name == "llm-optimizer"
    assert shown.config.custom_config["grpc_api.port"] == "50051"
    whole = await config.call("GetOptimizerConfig", include_sensitive=True)
    assert whole.config.database.connection_string == "postgres://u:pw@h/db"
    reader = stack.stub("config", "read")
    assert await reader.fails("GetOptimizerConfig", include_sensitive=True) is grpc.StatusCode.PERMISSION_DENIED


async def test_live_settings_change_and_others_are_said_to_need_a_restart(stack: Stack) -> None:
    config = stack.stub("config")
    wanted = config.pb.OptimizerConfig(
        observability={"log_level": "debug"}, service={"port": 9999}, custom_config={"grpc_api.burst_size": "7"}
    )
    checked = await config.call("ValidateConfig", config=wanted)
    assert checked.valid
    assert any("rest_api.port" in warning for warning in checked.warnings)
    dry = await config.call("UpdateOptimizerConfig", config=wanted, validate_only=True)
    assert dry.config.observability.log_level == "debug"
    assert stack.operated.settings.get().observability.log_level == "info"
    done = await config.call("UpdateOptimizerConfig", config=wanted)
    assert done.config.service.port == 8080
    now = stack.operated.settings.get()
    assert (now.observability.log_level, now.grpc_api.burst_size, now.rest_api.port) == ("debug", 7, 8080)
    assert stack.operated.levels == [("debug", "")]


async def test_a_bad_setting_changes_nothing(stack: Stack) -> None:
    config = stack.stub("config")
    wanted = config.pb.OptimizerConfig(custom_config={"grpc_api.burst_size": "-7", "no.such": "1"})
    checked = await config.call("ValidateConfig", config=wanted)
    assert not checked.valid
    assert {error.field for error in checked.errors} == {"grpc_api.burst_size", "no.such"}
    assert await config.fails("UpdateOptimizerConfig", config=wanted) is grpc.StatusCode.INVALID_ARGUMENT
    assert stack.operated.settings.get() == stack.operated.file
    writer = stack.stub("config", "write")
    assert await writer.fails("UpdateOptimizerConfig", config={}) is grpc.StatusCode.PERMISSION_DENIED


async def test_many_clients_write_and_watch_at_once(stack: Stack) -> None:
    config = stack.stub("config")
    async with config.subscribed("WatchConfig") as replies, trio.open_nursery() as nursery:

        async def write(key: str) -> None:
            await config.call("SetConfig", key=key, value="1")

        for i in range(5):
            nursery.start_soon(write, f"k{i}")
        assert {(await replies.next()).key for _ in range(5)} == {f"k{i}" for i in range(5)}
