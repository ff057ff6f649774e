"""Which store a configuration opens."""

from pathlib import Path
from typing import get_args

import pytest

from optimizer.storage import StoreKind, open_store


@pytest.mark.parametrize("kind", ["memory", "embedded", pytest.param("postgres", marks=pytest.mark.services)])
async def test_each_kind_opens_and_says_what_it_is(
    kind: StoreKind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    async with open_store(kind, folder=tmp_path / "store", url=url) as store:
        health = await store.health()
    assert (health.mode, health.writable) == (kind, True)
    assert (tmp_path / "store").exists() == (kind == "embedded")


def test_every_kind_is_tried_here() -> None:
    assert set(get_args(StoreKind)) == {"memory", "embedded", "postgres"}


def test_postgres_without_an_address_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="url"):
        open_store("postgres", folder=tmp_path)
