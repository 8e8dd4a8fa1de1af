"""A control plane with a warm pool, whose filler runs when a test says so."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, compose

from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime
from valhalla.sandbox.pool import Filler


@pytest.fixture(scope="session")
async def pooled(servers: Servers) -> AsyncGenerator[Runtime]:
    """A started control plane with a pool of six; the tests stop its filler and drive it themselves."""
    folder = Path(tempfile.mkdtemp(prefix="vh-pool-"))
    folder.chmod(0o711)
    (folder / "templates" / "shop").mkdir(parents=True)
    (folder / "templates" / "shop" / "1.sql").write_text("CREATE TABLE goods (id int)")
    runtime = await compose(
        servers,
        CellKey.parse("p" * 43),
        folder,
        clock=MovableClock(),
        name="valhalla_pool",
        pool_size=6,
        pool_rate=1000,
        pool_templates=["empty", "shop"],
        max_sandboxes_per_owner=5,
    )
    await runtime.start(lambda _key: None)
    for task in runtime.tasks:
        if task.get_name() == "filler":
            task.cancel()
    yield runtime
    await runtime.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def filler(pooled: Runtime) -> Filler:
    """The filler, with a full pool."""
    filler = pooled.sandboxes.filler
    while await filler.once():
        pass
    return filler
