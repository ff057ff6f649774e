"""The generated documents are current, complete and true."""

from pathlib import Path

import pytest

from optimizer.config import Settings, load_settings
from optimizer.config.reference import DOCUMENT, EXAMPLE, main, render_document, render_example

ROOT = Path(__file__).parents[2]


def test_the_documents_in_the_repository_are_current() -> None:
    advice = "run: python -m optimizer.config.reference"
    assert (ROOT / DOCUMENT).read_text(encoding="utf-8") == render_document(), advice
    assert (ROOT / EXAMPLE).read_text(encoding="utf-8") == render_example(), advice


def test_the_example_loads_and_says_the_defaults() -> None:
    assert load_settings(ROOT / EXAMPLE) == Settings()


def test_every_key_is_documented() -> None:
    text = render_document()
    for name, field in Settings.model_fields.items():
        assert f"## [{name}]" in text
        section = field.default
        for key, below in type(section).model_fields.items():
            assert f"| `{key}` |" in text
            assert below.description, f"{name}.{key} has no description"


def test_main_writes_both(tmp_path: Path) -> None:
    main(tmp_path)
    assert load_settings(tmp_path / EXAMPLE) == Settings()
    assert (tmp_path / DOCUMENT).is_file()


@pytest.mark.parametrize("word", ["postgres_url", "jwt_secret", "sled_path"])
def test_commented_keys_of_the_example_are_there(word: str) -> None:
    assert f"# {word} = (not set)" in render_example()
