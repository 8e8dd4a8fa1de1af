"""A process that takes of a channel's rate until it is refused again and again, and prints how many it got.

``python pace_child.py DATABASE_URL CHANNEL MOST WINDOW``
"""

from __future__ import annotations

import asyncio
import sys

from valhalla.features.data.notifications import pacing
from valhalla.kit.db import Database

_REFUSALS = 20


async def main(url: str, channel: str, most: int, window: float) -> None:
    """Take as told."""
    db = Database(url)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    got = refused = 0
    while refused < _REFUSALS:
        if (await db.run(pacing.take, channel, most, window)).allowed:
            got += 1
        else:
            refused += 1
        # the other one should get some, too
        await asyncio.sleep(0.002)
    await db.close()
    print(got)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
