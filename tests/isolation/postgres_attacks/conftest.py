"""A and B live in an arena of a cluster that is closed to everybody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from tests.isolation.postgres_attacks.field import Field

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres import Bootstrap, PostgresSlice, bootstrap
from valhalla.sandbox.templates import BuiltIn, Templates


@pytest.fixture(scope="module")
async def field(closed: str) -> AsyncGenerator[Field]:
    """A cluster of its own cell with two sandboxes; B holds one community."""
    superuser = closed
    cell = CellKey.parse("A" * 43)
    plan = Bootstrap("valhalla_attacks", "secret", "valhalla_attacks", cell.cell)
    await bootstrap(superuser, plan, exclusive=True)
    await bootstrap(superuser, plan, exclusive=True)
    base = superuser.rpartition("@")[2].partition("/")[0]
    postgres = PostgresSlice(f"postgresql://valhalla_attacks:secret@{base}/valhalla_attacks", cell)
    assert await postgres.prepare() == []
    template = Templates().get("community")
    assert isinstance(template, BuiltIn)
    end = datetime.now(UTC) + timedelta(hours=1)
    both = [Names.for_sandbox(new_id(), cell=cell.cell, database=postgres.arenas.current) for _ in range(2)]
    for names in both:
        await postgres.provision(names, expires_at=end, seed=template.sql)
    victim = await postgres.login(both[1])
    await victim.execute("INSERT INTO communities (name) VALUES ('secret of B')")
    await victim.execute("CREATE SEQUENCE counter; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    await victim.close()
    yield Field(postgres, both[0], both[1], superuser, cell.cell)
    for names in both:
        await postgres.cut(names)
        await postgres.drop(names)
    await postgres.close()
