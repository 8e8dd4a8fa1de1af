"""A control plane that is killed while it fills its pool: every slot is complete or gone."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.crash.control_plane import ControlPlane

from valhalla.backing import embedded_url
from valhalla.cli.leftovers import leftovers
from valhalla.embedded import Endpoints
from valhalla.kit.cellkey import CellKey

# each needs a larger pool than the one before, or there would be nothing to fill
POINTS = [
    pytest.param("fill.inserted", 4, marks=pytest.mark.slow),
    ("fill.built", 8),
    pytest.param("fill.ready", 12, marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    made = ControlPlane(Path(tempfile.mkdtemp(prefix="vh-crash-pool-")))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.signal(signal.SIGKILL)
    shutil.rmtree(made.folder)


async def slots(plane: ControlPlane) -> list[asyncpg.Record]:
    """Return what the registry says of every slot."""
    cell = CellKey.parse((plane.data_dir / "cell.key").read_text())
    port = int(plane.http.get("/system/info").json()["services"]["postgres"]["address"].rpartition(":")[2])
    connection = await asyncpg.connect(embedded_url(cell, Endpoints(postgres_port=port)))
    try:
        return await connection.fetch(
            "SELECT id, status, slot_ready_at IS NOT NULL AS ready FROM valhalla.sandboxes"
            " WHERE owner = '' AND status <> 'destroyed'"
        )
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("point", "size"), POINTS)
async def test_fill(plane: ControlPlane, point: str, size: int) -> None:
    """After the restart nothing half-built is left, and the pool is full of slots that work."""
    plane.doomed(VALHALLA_POOL_SIZE=str(size), VALHALLA_CRASH_AT=point)
    assert plane.ended() == -signal.SIGKILL
    plane.start(VALHALLA_POOL_SIZE=str(size))
    end = time.monotonic() + 30
    while len(ready := [row for row in await slots(plane) if row["ready"]]) < size and time.monotonic() < end:
        await asyncio.sleep(0.1)
    assert len(ready) >= size
    # what the dead process has begun is swept
    while any(not row["ready"] for row in await slots(plane)) and time.monotonic() < end:
        await asyncio.sleep(0.1)
    assert await leftovers(plane.data_dir) == []
    made = plane.http.post("/api/sandboxes", json={"template": "community"}).json()
    assert made["id"] in {row["id"] for row in ready}
    checked = plane.http.get(f"/api/sandboxes/{made['id']}/status").json()
    assert checked["health"] == "healthy", checked
    plane.http.delete(f"/api/sandboxes/{made['id']}", params={"wait": 10}).raise_for_status()
    assert plane.signal(signal.SIGTERM) == 0
