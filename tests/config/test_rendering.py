"""Dumps load back equal; differences say what a reload can do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.config import Settings, apply_live, diff, dump, load_settings
from optimizer.config.rendering import Format


def changed(**sections: dict[str, object]) -> Settings:
    overrides = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    return load_settings(None, None, overrides)


@pytest.mark.parametrize("kind", ["toml", "yaml"])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        changed(
            service={"name": 'quo"te\\ ünï', "host": "0.0.0.0"},
            collector={"kafka_brokers": ["a:1", "b:2"], "otlp_grpc_port": 4317},
            rest_api={"timeout_secs": 2.5, "enable_tls": True, "tls_cert_path": "a b.pem", "tls_key_path": "k.pem"},
            storage={"data_dir": "/var/lib/x"},
            security={"jwt_audience": ""},
        ),
        changed(service={"version": "9.9"}),
    ],
)
def test_a_dump_loads_back_equal(tmp_path: Path, settings: Settings, kind: Format) -> None:
    path = tmp_path / f"c.{kind}"
    for comments in (False, True):
        path.write_text(dump(settings, kind, comments=comments), encoding="utf-8")
        assert load_settings(path) == settings


@given(
    name=st.text(min_size=1).filter(lambda text: text.strip() and "\x7f" not in text and text.isprintable()),
    size=st.integers(100, 10**12),
)
def test_any_text_and_number_loads_back_equal(tmp_path_factory: pytest.TempPathFactory, name: str, size: int) -> None:
    settings = changed(service={"name": name}, collector={"buffer_size": size})
    path = tmp_path_factory.mktemp("c") / "c.toml"
    path.write_text(dump(settings), encoding="utf-8")
    assert load_settings(path) == settings


def test_the_installed_version_is_not_pinned_by_a_dump() -> None:
    assert '\nversion = "' not in dump(Settings())


def test_a_difference_is_split_into_live_and_restart() -> None:
    new = changed(observability={"log_level": "debug"}, rest_api={"port": 1}, storage={"redis_url": "redis://h"})
    difference = diff(Settings(), new)
    assert [(each.key, each.old, each.new) for each in difference.live] == [
        ("observability.log_level", "info", "debug")
    ]
    assert [(each.key, each.old, each.new) for each in difference.restart] == [
        ("rest_api.port", "8080", "1"),
        ("storage.redis_url", "(not set)", "(secret, not shown)"),
    ]
    assert not diff(new, new)


def test_a_reload_takes_the_live_part_only() -> None:
    old = changed(rest_api={"port": 1})
    new = changed(observability={"log_level": "debug", "metrics_port": 2}, decisions={"lease_s": 60})
    after = apply_live(old, new)
    assert after.observability.log_level == "debug"
    assert after.decisions.lease_s == 60
    assert after.observability.metrics_port == 9090
    assert after.rest_api.port == 1
    assert diff(after, new).live == ()
