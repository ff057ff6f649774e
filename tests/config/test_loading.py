"""Layering and its errors: each source wins in its turn; a problem names source, key, value and what is allowed."""

import re
from pathlib import Path

import pytest

from optimizer.config import Settings, load_settings
from optimizer.model import ConfigurationError


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(file: Path | None = None, environ: dict[str, str] | None = None, **overrides: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environ, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value).splitlines()


def test_defaults_are_those_of_the_contract_except_that_they_need_nothing() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.service.name == "llm-optimizer"
    assert settings.service.environment == "development"
    assert settings.service.host == "127.0.0.1"
    assert settings.collector.kafka_brokers == ()
    assert settings.collector.kafka_topic == "llm-feedback"
    assert (settings.collector.buffer_size, settings.collector.batch_size) == (10_000, 100)
    assert (settings.processor.worker_threads, settings.processor.window_size_secs) == (4, 300)
    assert (settings.rest_api.port, settings.rest_api.timeout_secs, settings.rest_api.enable_tls) == (8080, 30, False)
    assert (settings.grpc_api.port, settings.grpc_api.enable_tls) == (50051, False)
    assert settings.storage.postgres_url is None
    assert settings.storage.redis_url is None
    assert settings.storage.max_connections == 10
    assert settings.integrations.jira is None
    assert (settings.observability.log_level, settings.observability.json_logging) == ("info", False)
    assert settings.observability.metrics_port == 9090
    assert settings.security.auth_enabled


def test_each_source_wins_over_the_ones_before_it(tmp_path: Path) -> None:
    file = write(tmp_path, '[rest_api]\nport = 1111\ntimeout_secs = 5\n[observability]\nlog_level = "warn"\n')
    assert load_settings(file).rest_api.port == 1111
    environ = {"LLM_OPTIMIZER__REST_API__PORT": "2222", "LLM_OPTIMIZER__OBSERVABILITY__LOG_LEVEL": "error"}
    settings = load_settings(file, environ, {"observability.log_level": "debug", "observability.json_logging": None})
    assert settings.rest_api.port == 2222
    assert settings.rest_api.timeout_secs == 5
    assert settings.observability.log_level == "debug"
    assert not settings.observability.json_logging


@pytest.mark.parametrize("name", ["config.yaml", "config.yml"])
def test_yaml_says_the_same_as_toml(tmp_path: Path, name: str) -> None:
    toml = write(tmp_path, '[service]\nname = "x"\n[collector]\nkafka_brokers = ["a:1", "b:2"]\n')
    yaml = write(tmp_path, "service:\n  name: x\ncollector:\n  kafka_brokers: [a:1, 'b:2']\n", name)
    assert load_settings(toml) == load_settings(yaml)


@pytest.mark.parametrize(
    "environ",
    [{"LLM_OPTIMIZER__REST_API__PORT": "8888"}, {"LLM_OPTIMIZER_REST_API__PORT": "8888"}],
)
def test_both_environment_prefixes_are_understood(environ: dict[str, str]) -> None:
    assert load_settings(None, environ).rest_api.port == 8888


def test_two_spellings_of_one_variable_must_agree() -> None:
    same = {"LLM_OPTIMIZER__REST_API__PORT": "8888", "LLM_OPTIMIZER_REST_API__PORT": "8888"}
    assert load_settings(None, same).rest_api.port == 8888
    (line,) = problems(None, same | {"LLM_OPTIMIZER_REST_API__PORT": "9999"})
    assert "LLM_OPTIMIZER_REST_API__PORT" in line
    assert "LLM_OPTIMIZER__REST_API__PORT" in line


def test_names_that_kubernetes_and_the_client_use_are_left_alone() -> None:
    environ = {
        "LLM_OPTIMIZER_SERVICE_HOST": "10.0.0.7",
        "LLM_OPTIMIZER_SERVICE_PORT": "8080",
        "LLM_OPTIMIZER_PORT_8080_TCP_ADDR": "10.0.0.7",
        "LLM_OPTIMIZER_API_URL": "http://somewhere",
        "LLM_OPTIMIZER_API_KEY": "k",
        "PATH": "/bin",
    }
    assert load_settings(None, environ) == Settings()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("a:1,b:2", ("a:1", "b:2")), ('["a:1", "b:2"]', ("a:1", "b:2")), ("a:1", ("a:1",)), ("", ())],
)
def test_lists_in_the_environment(raw: str, expected: tuple[str, ...]) -> None:
    assert load_settings(None, {"LLM_OPTIMIZER__COLLECTOR__KAFKA_BROKERS": raw}).collector.kafka_brokers == expected


def test_objects_in_the_environment() -> None:
    jira = '{"base_url": "https://jira.example", "email": "a@b.c", "api_token": "t"}'
    settings = load_settings(None, {"LLM_OPTIMIZER__INTEGRATIONS__JIRA": jira})
    assert settings.integrations.jira is not None
    assert settings.integrations.jira.email == "a@b.c"
    deeper = {"LLM_OPTIMIZER__INTEGRATIONS__JIRA": jira, "LLM_OPTIMIZER__INTEGRATIONS__JIRA__EMAIL": "d@e.f"}
    jira_settings = load_settings(None, deeper).integrations.jira
    assert jira_settings is not None
    assert jira_settings.email == "d@e.f"
    keys = '[{"name": "ci", "key": "' + "k" * 32 + '", "roles": ["user"]}]'
    (key,) = load_settings(None, {"LLM_OPTIMIZER__SECURITY__API_KEYS": keys}).security.api_keys
    assert (key.name, key.roles) == ("ci", ("user",))


@pytest.mark.parametrize(
    ("raw", "expected"), [("true", True), ("1", True), ("YES", True), ("on", True), ("false", False), ("0", False)]
)
def test_booleans_in_the_environment(raw: str, expected: bool) -> None:
    settings = load_settings(None, {"LLM_OPTIMIZER__OBSERVABILITY__JSON_LOGGING": raw})
    assert settings.observability.json_logging is expected


def test_an_empty_variable_switches_an_optional_setting_off(tmp_path: Path) -> None:
    file = write(tmp_path, '[storage]\nredis_url = "redis://h"\n')
    assert load_settings(file, {"LLM_OPTIMIZER__STORAGE__REDIS_URL": ""}).storage.redis_url is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[rest_api]\nprot = 1\n", r"line 2: rest_api\.prot: unknown key; did you mean rest_api\.port\?"),
        ("[rest_apii]\nport = 1\n", r"line 1: rest_apii: unknown key; did you mean rest_api\?"),
        ('[rest_api]\nhost = "x"\n', r"line 2: rest_api\.host: unknown key; there is service\.host"),
        ("[processor]\nqqq = 1\n", r"processor\.qqq: unknown key; allowed here: enabled, worker_threads"),
        ("[rest_api]\n\nport = 70000\n", r"line 3: rest_api\.port: expected less than or equal to 65535, not 70000"),
        ("[rest_api]\nport = -1\n", r"rest_api\.port: expected greater than or equal to 0, not -1"),
        ('[rest_api]\nport = "8080"\n', r"rest_api\.port: expected a valid integer, not '8080'"),
        ("[rest_api]\nport = true\n", r"rest_api\.port: expected a valid integer, not True"),
        ("[rest_api]\nenabled = 1\n", r"rest_api\.enabled: expected a valid boolean, not 1"),
        ("[rest_api]\ntimeout_secs = 0\n", r"rest_api\.timeout_secs: expected greater than 0, not 0"),
        ("[rest_api]\ntimeout_secs = inf\n", r"rest_api\.timeout_secs: expected a finite number"),
        ("[rest_api]\ntimeout_secs = nan\n", r"rest_api\.timeout_secs: expected a finite number"),
        ("[collector]\nbuffer_size = 0\n", r"collector\.buffer_size: expected greater than 0, not 0"),
        ("[collector]\nbatch_size = 101\nbuffer_size = 100\n", r"line 2, .*line 3: collector: batch_size \(101\) must"),
        (
            '[collector]\nkafka_brokers = ["h:x"]\n',
            r"line 2: collector\.kafka_brokers\.0: expected host:port, not 'h:x'",
        ),
        ('[collector]\nkafka_topic = ""\n', r"collector\.kafka_topic: String should have at least 1 character"),
        ('[service]\nname = "  "\n', r"service\.name: String should have at least 1 character"),
        ('[service]\nenvironment = "prod"\n', r"expected 'development', 'staging' or 'production', not 'prod'"),
        ('[observability]\nlog_level = "loud"\n', r"expected 'trace', 'debug', 'info', 'warn' or 'error', not 'loud'"),
        ('[storage]\npostgres_url = ""\n', r"storage\.postgres_url: expected a URL like postgres://host"),
        ('[storage]\nbackend = "postgres"\n', r"line 2: storage: backend = \"postgres\" needs postgres_url"),
        ("[rest_api]\nenable_tls = true\n", r"rest_api: enable_tls needs tls_cert_path and tls_key_path"),
        (
            "[supervision]\ngrace_edges_s = 40\n",
            r"supervision: grace_edges_s \(40\) must be below grace_workers_s \(18\)",
        ),
        ("[grpc_api]\nport = 8080\n", r"line 2: settings: grpc_api\.port and rest_api\.port are both 8080"),
        ('[service]\nenvironment = "production"\n[rest_api]\nport = 0\n', r"rest_api\.port = 0 \(any free port\)"),
        (
            '[service]\nhost = "0.0.0.0"\n[security]\nauth_enabled = false\n',
            r"line 2, .*line 4: .*reachable from outside",
        ),
        ('[service]\nhost = "example.org"\n[security]\nauth_enabled = false\n', r"needs a loopback service\.host"),
        ("service = 3\n", r"line 1: service: "),
        ("[service\n", r"not valid TOML: .*line 1"),
        ("[service]\nname = 'a'\nname = 'b'\n", r"not valid TOML: "),
        ("[security]\njwt_secret = 'short'\n", r"security\.jwt_secret: expected a secret of at least 32 bytes$"),
        ("[integrations.jira]\nemail = 'a'\n", r"line 1: integrations\.jira\.api_token: is required"),
        ("[service]\nname = 1979-05-27\nhost = []\n", r"line 3: service\.host: expected a valid string"),
    ],
)
def test_a_problem_names_where_what_and_what_is_allowed(tmp_path: Path, text: str, expected: str) -> None:
    lines = problems(write(tmp_path, text))
    assert any(re.search(expected, line) and str(tmp_path / "config.toml") in line for line in lines), lines


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.ini", b"", r"unknown kind of file '\.ini'; allowed: \.toml, \.yaml, \.yml"),
        ("c", b"", r"unknown kind of file '\(no extension\)'"),
        ("c.toml", b"\xff\xfe", r"not UTF-8 text \(byte 0\)"),
        ("c.yaml", b"- a\n", r"expected sections at the top level"),
        ("c.yaml", b"a: [1\n", r"line 2: not valid YAML"),
        ("c.yaml", b"service: {name: a, name: b}\n", r"line 1: service\.name: given twice"),
        ("c.yaml", b"service:\n  1: b\n", r"line 2: service\.1: unknown key"),
        ("c.toml", b"#" * (1 << 20) + b"#", r"larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_settings_file(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert re.search(expected, problems(path)[0])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "none.toml")
    assert line == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "")) == Settings()
    assert load_settings(write(tmp_path, "# nothing\n", "c.yaml")) == Settings()


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("LLM_OPTIMIZER__REST_API__PORT", "http", r"rest_api\.port: expected a valid integer, not 'http'"),
        ("LLM_OPTIMIZER__REST_API__PROT", "1", r"did you mean rest_api\.port\?"),
        ("LLM_OPTIMIZER__SERVICE", "x", r"service: expected a JSON object"),
        ("LLM_OPTIMIZER__SECURITY__API_KEYS", "[{", r"security\.api_keys: expected a JSON list"),
        ("LLM_OPTIMIZER__OBSERVABILITY__JSON_LOGGING", "maybe", r"expected a valid boolean, not 'maybe'"),
    ],
)
def test_a_bad_variable_is_named(name: str, raw: str, expected: str) -> None:
    (line,) = problems(None, {name: raw})
    assert line.startswith(f"environment variable {name}: ")
    assert re.search(expected, line)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[rest_api]\nport = 99999\n[nothing]\n")
    lines = problems(file, {"LLM_OPTIMIZER__PROCESSOR__WORKER_THREADS": "0"}, observability__log_level="loud")
    assert len(lines) == 4
    assert any(line.startswith("command line: observability.log_level:") for line in lines)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Settings().rest_api, "port", 1)  # noqa: B010 - the type checker refuses the plain spelling
