"""Which templates are pooled: a snapshot as any other, one that wants databases of its own not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.sandbox.plane import Team, developer, fresh_owner

from valhalla.runtime import Runtime
from valhalla.sandbox.pool import Filler


@pytest.fixture
def shop(pooled: Runtime) -> Iterator[Path]:
    """The folder of the template that the pool keeps; as it was after the test."""
    folder = pooled.settings.data_dir / "templates" / "shop"
    aside = folder.with_name("aside")
    yield folder
    (folder / "template.toml").unlink(missing_ok=True)
    if aside.exists():
        aside.rename(folder)


async def test_a_snapshot_is_pooled(pooled: Runtime, filler: Filler, shop: Path) -> None:
    """Slots are made of it, a newer one of the same name replaces them, and a claim gets the rows."""
    team = Team(pooled, developer(fresh_owner()))
    made = await team.create(template="empty")
    assert made.connection is not None
    source = await asyncpg.connect(made.connection["postgres"]["url"])
    shop.rename(shop.with_name("aside"))
    for number in (1, 2):
        await source.execute(f"CREATE TABLE IF NOT EXISTS t (x int); INSERT INTO t VALUES ({number})")
        await pooled.snapshots.take(team.principal, made.sandbox.id, "shop", replace=True)
        while await filler.once():
            pass
        claimed = filler.stock.claimed
        created = await team.create(template="shop")
        assert filler.stock.claimed == claimed + 1
        assert created.connection is not None
        copy = await asyncpg.connect(created.connection["postgres"]["url"])
        assert await copy.fetchval("SELECT count(*) FROM t") == number
        await copy.close()
        await team.destroy(created.sandbox.id)
    await source.close()
    await team.destroy(made.sandbox.id)
    await pooled.snapshots.remove(team.principal, "shop")


async def test_own_databases_and_other_slices_are_made_in_line(pooled: Runtime, filler: Filler, shop: Path) -> None:
    team = Team(pooled, developer(fresh_owner()))
    claimed = filler.stock.claimed
    light = await team.new(template="empty", slices=["postgres"])
    assert light.names.slices == ("postgres",)
    (shop / "template.toml").write_text('isolation = "database"')
    own = await team.new(template="shop")
    assert own.names.isolation == "database"
    assert filler.stock.claimed == claimed
    while await filler.once():
        pass
    # it is told, and does not keep the others from their slots
    assert "databases of their own" in filler.refused["shop"]
    assert filler.stock.count("empty", pooled.sandboxes.templates.get("empty").version) > 0
    await team.destroy(own.id)
    await team.destroy(light.id)
