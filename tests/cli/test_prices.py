"""The prices commands: show says where a price comes from, import writes what can be read, check compares."""

from pathlib import Path

import pytest

from optimizer.cli import main
from optimizer.core.pricing import Prices, Tokens, read_table

LITELLM = """{"house/chat": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 2.5e-06,
"output_cost_per_token": 1e-05, "output_cost_per_token_above_200k_tokens": 2e-05,
"output_cost_per_token_batches": 5e-06},
"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05},
"free": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0}}"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "litellm.json").write_text(LITELLM)


def test_show_names_price_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "--provider", "openai", "gpt-4o", "--at", "2026-01-01"]) == 0
    shown = capsys.readouterr().out
    assert "openai/gpt-4o  (US dollars per million tokens)" in shown
    assert "  input       2.5\n" in shown
    assert "  source      genai-prices " in shown
    assert main(["prices", "show", "gpt-4o", "--context", "processing=batch"]) == 0
    assert "  input       1.25\n" in capsys.readouterr().out


def test_show_says_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "house-model"]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "unknown: house-model of any provider" in streams.err


def test_the_own_table_of_the_settings_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text(
        '[[price]]\nmodel = "gpt-4o"\nfrom = 2026-01-01\ninput = 1\noutput = 2\nsource = "deal"\n'
    )
    (tmp_path / "c.toml").write_text('[collector]\nprices_path = "own.toml"\n')
    assert main(["-c", "c.toml", "prices", "show", "--provider", "openai", "gpt-4o", "--at", "2026-02-01"]) == 0
    shown = capsys.readouterr().out
    assert "  since       2026-01-01\n  source      own table, deal\n" in shown


def test_an_import_can_be_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "import", "litellm.json", "-o", "own.toml"]) == 0
    assert "3 rows; left out 1:\n  1 priced 0\n" in capsys.readouterr().err
    known = Prices(read_table((tmp_path / "own.toml").read_text()), use_bundled=False)
    priced = known.price(provider="house", model="chat", tokens=Tokens(250_000, 1_000), at=0)
    assert priced is not None
    assert str(priced.cost.normalize()) == "0.645"
    assert priced.provenance == "chat (litellm litellm.json)"
    assert not (tmp_path / "own.toml.new").exists()


def test_an_import_can_be_narrowed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "import", "litellm.json", "--only", "OpenAI"]) == 0
    assert [entry.model for entry in read_table(capsys.readouterr().out).entries] == ["gpt-4o"]
    assert main(["prices", "import", "litellm.json", "--only", "nobody"]) == 1


def test_a_broken_import_leaves_the_old_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text("old")
    (tmp_path / "litellm.json").write_text(LITELLM + "}")
    assert main(["prices", "import", "litellm.json", "-o", "own.toml"]) == 1
    assert "not valid JSON" in capsys.readouterr().err
    assert (tmp_path / "own.toml").read_text() == "old"


def test_check_compares_with_the_installed_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "import", "litellm.json", "-o", "own.toml"]) == 0
    assert main(["prices", "check", "own.toml"]) == 0
    shown = capsys.readouterr().out
    assert "openai/gpt-4o: input 1, installed data 2.5\n" in shown
    assert "own.toml: 3 rows are valid, 1 differ from the installed data.\n" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["prices", "check"], 1, "collector.prices_path is not set"),
        (["prices", "check", "none.toml"], 78, "none.toml: cannot be read: No such file"),
        (["prices", "check", "litellm.json"], 78, "not valid TOML"),
        (["prices", "import", "none.json"], 78, "none.json: cannot be read"),
        (["prices", "show", "gpt-4o", "--context", "batch"], 1, "--context: expected KEY=VALUE"),
        (["prices", "import", "litellm.json", "-o", "no/folder/own.toml"], 78, "cannot be written"),
    ],
)
def test_failures_are_said(arguments: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    assert expected in capsys.readouterr().err
