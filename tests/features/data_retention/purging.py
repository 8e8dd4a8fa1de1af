"""Does one purge, to be killed: ``python -m tests.features.data_retention.purging URL KEY FOLDER ID``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from valhalla.features.contracts import Platform
from valhalla.features.data.exports import Exports
from valhalla.features.data.retention import Retention
from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.settings import Settings
from valhalla.work import Jobs


async def _ask(*_args: Any, **_named: Any) -> Any:
    raise AssertionError("nobody is asked")


async def main(url: str, key: str, folder: str, id_: str) -> None:
    """Do it, and say how it ended."""
    db, cell = Database(url), CellKey.parse(key)
    settings = Settings(data_dir=Path(folder))
    platform = Platform(settings, cell, Clock(), db, Ledger(cell), Feed(db), Jobs(), lambda _: None)
    feature = Retention(platform, Exports(platform), ask=_ask)
    try:
        print(await feature.purger.execute(id_), flush=True)
    finally:
        await feature.stop()
        await db.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
