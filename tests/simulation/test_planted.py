"""Planted bugs stay applicable (the campaign `planted` proves that each is found)."""

import shutil
from pathlib import Path

import pytest

from tests.simulation.hunt import hunt
from tests.simulation.planted import PLANTED, SOURCES, Planted


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_the_bug_can_be_planted(bug: Planted, tmp_path: Path) -> None:
    target = tmp_path / bug.file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCES / bug.file, target)
    bug.apply(tmp_path)
    compile(target.read_text(), bug.file, "exec")
    assert target.read_text() != (SOURCES / bug.file).read_text()


def test_there_are_enough() -> None:
    assert len({bug.name for bug in PLANTED}) >= 20


def test_one_of_them_is_found() -> None:
    """The hunt itself works; the others are hunted by the campaign."""
    found = hunt(next(bug for bug in PLANTED if bug.name == "ready while stopping"), 5)
    assert found is not None
    assert "I9" in found
