"""SIGKILL of the control plane while it makes, resets or ends a sandbox with a database and a file of its own."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.crash.control_plane import ControlPlane, until

from valhalla.cli.leftovers import leftovers

slow = pytest.mark.slow
SHOP = {"template": "shop", "slices": ["postgres", "sqlite"]}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    made = ControlPlane(Path(tempfile.mkdtemp(prefix="vh-crash-")))
    template = made.data_dir / "templates" / "shop"
    (template / "sqlite").mkdir(parents=True)
    (template / "template.toml").write_text('isolation = "database"')
    (template / "1.sql").write_text("CREATE TABLE orders (id int); INSERT INTO orders VALUES (42)")
    (template / "sqlite" / "1.sql").write_text("CREATE TABLE orders (id); INSERT INTO orders VALUES (42)")
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def _stopped(plane: ControlPlane) -> Iterator[None]:
    yield
    if plane.process is not None and plane.process.poll() is None:
        plane.signal(signal.SIGKILL)


def dies(plane: ControlPlane, method: str, path: str, **request: Any) -> None:
    with contextlib.suppress(httpx.TransportError):
        answer = plane.http.request(method, path, **request)
        assert answer.is_success, answer.text
    assert plane.ended() == -signal.SIGKILL


async def orders(sandbox: dict[str, Any]) -> set[int]:
    connection = sandbox["connection"]
    session = await asyncpg.connect(connection["postgres"]["url"])
    found = {row[0] for row in await session.fetch("SELECT id FROM orders")}
    await session.close()
    with sqlite3.connect(connection["sqlite"]["path"]) as file:
        return found | {row[0] for row in file.execute("SELECT id FROM orders")}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("create.database", marks=slow),
        pytest.param("create.sqlite", marks=slow),
        pytest.param("create.seeded", marks=slow),
    ],
)
async def test_create(plane: ControlPlane, point: str) -> None:
    """Neither a database, also a half-open one, nor a role or a file is left."""
    plane.start(VALHALLA_CRASH_AT=point)
    dies(plane, "POST", "/api/sandboxes", json=SHOP | {"name": f"at-{point.replace('.', '-')}"})
    plane.start()
    until(lambda: {row["status"] for row in plane.rows()} == {"destroyed"})
    assert await leftovers(plane.data_dir) == []


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("cut.postgres", marks=slow),
        pytest.param("drop.postgres", marks=slow),
        pytest.param("drop.sqlite", marks=slow),
    ],
)
async def test_destroy(plane: ControlPlane, point: str) -> None:
    plane.start(VALHALLA_CRASH_AT=point)
    made, kept = plane.new(**SHOP), plane.new(**SHOP)
    dies(plane, "DELETE", f"/api/sandboxes/{made['id']}", params={"wait": 10})
    plane.start()
    until(lambda: plane.row(made["name"])["status"] == "destroyed")
    assert {item.rpartition("_")[2].rpartition(" ")[2] for item in await leftovers(plane.data_dir)} == {kept["id"]}
    assert await orders(kept) == {42}
    plane.end(kept)
    assert await leftovers(plane.data_dir) == []


@slow
async def test_a_reset_is_repeated(plane: ControlPlane) -> None:
    """Killed between the removal and the filling, the sandbox lives; a second reset makes it whole."""
    plane.start(VALHALLA_CRASH_AT="reset.postgres")
    made = plane.new(**SHOP)
    dies(plane, "POST", f"/api/sandboxes/{made['id']}/reset")
    plane.start()
    answer = plane.http.post(f"/api/sandboxes/{made['id']}/reset")
    assert answer.status_code == 200, answer.text
    assert await orders(made) == {42}
    plane.end(made)
    assert await leftovers(plane.data_dir) == []
