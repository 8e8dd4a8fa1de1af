"""One ingress in a process of its own, which may be killed: it takes its shard's events from where they were stored.

As a gateway does that resumes a session: whatever is not known to be stored is sent again, under the same ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.contracts import Event
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.items import Stored


async def main(spec: dict[str, str | int | float]) -> None:
    """Publish ``count`` events of a shard at ``rate`` per second; ``mark`` holds how many are stored without a gap."""
    shard, count, keys, rate = (int(spec[name]) for name in ("shard", "count", "keys", "rate"))
    mark = Path(str(spec["mark"]))
    stored = int(mark.read_text()) if mark.exists() else 0
    ingress = Ingress(str(spec["url"]), Path(str(spec["creds"])).read_text(), name=f"w{shard}")
    await ingress.start(wait=60)
    loop = asyncio.get_running_loop()
    known: set[int] = set()

    def advance(number: int, done: asyncio.Future[Stored]) -> None:
        nonlocal stored
        done.result()
        known.add(number)
        while stored in known:
            known.remove(stored)
            stored += 1

    number, started, begun = stored, time.monotonic(), stored
    while stored < count:
        due = min(count, begun + int((time.monotonic() - started) * rate))
        while number < due:
            future: asyncio.Future[Stored] = loop.create_future()
            mine = number
            future.add_done_callback(lambda done, mine=mine: advance(mine, done))
            stamp = time.monotonic_ns()
            body = json.dumps({"n": number, "at": stamp, "pid": os.getpid()}).encode()
            event = Event("tenant", f"s{shard}-{number % keys}", "t", body, f"{shard}-{number}")
            try:
                ingress.outgoing.post(event, future)
            except Problem:
                future.cancel()
                break
            number += 1
        fresh = mark.with_suffix(".new")
        fresh.write_text(str(stored))
        fresh.replace(mark)
        await asyncio.sleep(0.01)
    await ingress.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
