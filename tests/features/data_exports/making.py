"""A process that makes one export, to be killed: ``python -m tests.features.data_exports.making URL KEY FOLDER ID``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from valhalla.features.contracts import Platform
from valhalla.features.data.exports import Exports
from valhalla.features.observability.logs import tables as _logs  # noqa: F401 - the source is there with its table
from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.settings import Settings
from valhalla.work import Jobs


async def main(url: str, key: str, folder: str, id_: str) -> None:
    """Make it, and say how it ended."""
    db, cell = Database(url), CellKey.parse(key)
    settings = Settings(data_dir=Path(folder))
    feature = Exports(Platform(settings, cell, Clock(), db, Ledger(cell), Feed(db), Jobs(), lambda _: None))
    try:
        print(await feature.runner.execute(id_), flush=True)
    finally:
        await db.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
