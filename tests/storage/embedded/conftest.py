"""The embedded store's own tests: a folder, and child processes that use it."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store"
