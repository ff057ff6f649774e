"""Which store a configuration opens."""

from pathlib import Path
from typing import get_args

import pytest

from optimizer.config import Settings
from optimizer.model import StorageUnavailable
from optimizer.nurseries.services import open_configured_store
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


@pytest.mark.parametrize("backend", ["auto", "postgres"])
async def test_a_configured_database_is_never_replaced_by_a_local_file(backend: str, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "storage": {
                "backend": backend,
                "data_dir": tmp_path / "data",
                "postgres_url": "postgresql://u:p@127.0.0.1:1/d",
            }
        }
    )
    with pytest.raises(StorageUnavailable, match="PostgreSQL"):
        async with open_configured_store(settings):
            pass
    assert not (tmp_path / "data").exists()
