"""A dispatcher in a process of its own; its sink appends to a file and, if told, dies between send and mark."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from valhalla.kit.db import Database
from valhalla.kit.outbox import Dispatcher, Event


class File:
    """Writes a line per event."""

    def __init__(self, path: Path, die_at: int) -> None:
        self._path = path
        self._die_at = die_at
        self._count = 0

    async def deliver(self, events: Sequence[Event]) -> None:
        with self._path.open("a") as file:
            for event in events:
                file.write(f"{event.id} {event.uid} {event.subject}\n")
                file.flush()
                self._count += 1
                if self._count == self._die_at:
                    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, path: str, die_at: str) -> None:
    print("ready", flush=True)
    await Dispatcher(Database(url), [File(Path(path), int(die_at))], batch=10).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
