"""A process that delivers until it is killed: ``python deliverer_child.py DATABASE_URL CELL_KEY_FILE DATA_DIR``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from valhalla.features.contracts import Platform
from valhalla.features.data.notifications import Notifications
from valhalla.features.observability.alerts import Alerts
from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.settings import Settings
from valhalla.work import Jobs


async def main(url: str, cell: CellKey, data_dir: Path) -> None:
    """Deliver until the process ends."""
    db = Database(url)
    feed = Feed(db)
    settings = Settings(data_dir=data_dir, outgoing_networks=["127.0.0.0/8"])
    platform = Platform(settings, cell, Clock(), db, Ledger(cell), feed, Jobs(), lambda _: None)
    Alerts(platform)
    feature = Notifications(platform)
    await feed.start()
    await feature.deliverer.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], CellKey.load_or_create(Path(sys.argv[2])), Path(sys.argv[3])))
