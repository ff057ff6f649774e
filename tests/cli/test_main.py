"""The command line: the flags of the founding document, exit codes, and what each stream carries."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from optimizer import __version__
from optimizer.cli import main
from optimizer.config import Settings, load_settings
from optimizer.security import load_keys, make_tokens


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM_OPTIMIZER_CONFIG", raising=False)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_flag_and_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    shown = capsys.readouterr().out
    for word in (
        "-c, --config FILE",
        "-l, --log-level",
        "--json-logs",
        "--validate-config",
        "--print-default-config",
        "-h, --help",
        "-V, --version",
        "trace|debug|info|warn|error",
        "serve",
        "token",
    ):
        assert word in shown


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"llm-optimizer {__version__}\n"


@pytest.mark.parametrize("before", [[], ["serve"]])
def test_the_printed_defaults_are_toml_that_loads(
    before: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*before, "--print-default-config"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["rest_api"]["port"] == 8080
    (tmp_path / "printed.toml").write_text(text)
    assert load_settings(tmp_path / "printed.toml") == Settings()


@pytest.mark.parametrize("order", [["-c", "c.toml", "serve"], ["serve", "-c", "c.toml"], ["--config", "c.toml"]])
def test_validation_starts_nothing(order: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text("[rest_api]\nport = 1\n")
    assert main([*order, "--validate-config"]) == 0
    assert capsys.readouterr().out == "The configuration is valid.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.toml"]


def test_a_bad_configuration_lists_every_problem_and_exits_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text("[rest_api]\nprot = 1\nport = 99999\n")
    monkeypatch.setenv("LLM_OPTIMIZER__GRPC_API__PORT", "x")
    for flags in (["--validate-config"], [], ["serve"], ["token", "--role", "admin"]):
        assert main(["-c", "c.toml", *flags]) == 78
        streams = capsys.readouterr()
        assert streams.out == ""
        assert streams.err.count("\n") == 4
        for word in ("c.toml line 2: rest_api.prot", "c.toml line 3: rest_api.port", "LLM_OPTIMIZER__GRPC_API__PORT"):
            assert word in streams.err


def test_missing_files_are_found_by_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = 'enable_tls = true\ntls_cert_path = "none.pem"\ntls_key_path = "none.key"\n'
    prices = '[collector]\nprices_path = "none.toml"\n'
    (tmp_path / "c.toml").write_text(f"[rest_api]\n{section}[grpc_api]\n{section}{prices}")
    assert main(["-c", "c.toml", "--validate-config"]) == 78
    shown = capsys.readouterr().err
    assert "rest_api.tls_cert_path: none.pem cannot be read" in shown
    assert "grpc_api.tls_cert_path: none.pem cannot be read" in shown
    assert "collector.prices_path: none.toml: cannot be read" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["-l", "loud"],
        ["token"],
        ["token", "--role", "root"],
        ["token", "--role", "admin", "--ttl", "0"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Usage:" in streams.err


def test_a_missing_file_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "none.toml", "--validate-config"]) == 78
    assert "none.toml: cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_token_verifies_with_the_key_of_the_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--role", "user", "--role", "readonly", "--subject", "alice", "--ttl", "60"]) == 0
    streams = capsys.readouterr()
    assert streams.out.count("\n") == 1
    settings = load_settings()
    import time

    identity = make_tokens(settings, load_keys(settings)).verify(streams.out.strip(), now=time.time())
    assert (identity.subject, set(identity.roles)) == ("alice", {"user", "readonly"})
    assert (tmp_path / "data" / "signing.key").exists()


def test_an_unusable_data_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file")
    assert main(["token", "--role", "admin"]) == 78
    assert "signing.key cannot be used" in capsys.readouterr().err


def test_the_module_runs_and_help_imports_neither_settings_nor_server() -> None:
    code = (
        "import sys; from optimizer.cli import main; code = main(['--help']);"
        "heavy = {'pydantic', 'trio', 'numpy', 'jwt', 'genai_prices'} & sys.modules.keys();"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    version = subprocess.run(
        [sys.executable, "-m", "optimizer", "-V"], capture_output=True, text=True, check=False, timeout=60
    )
    assert version.stdout == f"llm-optimizer {__version__}\n"
