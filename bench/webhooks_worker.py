"""The two other processes of ``bench.webhooks``: one worker that delivers, and who receives."""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

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

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def feature(db: Database, data_dir: Path, reach: str = "127.0.0.0/8") -> tuple[Notifications, Feed]:
    """Return notifications over a database, as a control plane composes them."""
    feed = Feed(db)
    cell = CellKey.load_or_create(data_dir / "cell.key")
    settings = Settings(data_dir=data_dir, outgoing_networks=[reach])
    platform = Platform(settings, cell, Clock(), db, Ledger(cell), feed, Jobs(), lambda _: None)
    # its subscriptions name channels
    Alerts(platform)
    return Notifications(platform), feed


def deliver(url: str, data_dir: Path) -> None:
    """Deliver until the process is ended."""
    uvloop.run(_deliver(url, data_dir))


async def _deliver(url: str, data_dir: Path) -> None:
    made, feed = feature(Database(url), data_dir)
    await feed.start()
    await made.deliverer.run(asyncio.Event())


def receive(pipe: Connection) -> None:
    """Take webhooks, say the port, and for each message of the pipe what has come since: (id, moment) in order."""
    uvloop.run(_receive(pipe))


async def _receive(pipe: Connection) -> None:
    got: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(got), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])

    def told() -> None:
        pipe.recv()
        pipe.send(got[:])
        got.clear()

    loop.add_reader(pipe.fileno(), told)
    await asyncio.Event().wait()


class _Protocol(asyncio.Protocol):
    """As little of HTTP as the sender speaks: the receiver shall not be what is measured."""

    def __init__(self, got: list[tuple[str, float]]) -> None:
        self._got = got
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end]
        length = int(head[head.rindex(b"Content-Length: ") + 16 :])
        if len(self._data) < end + 4 + length:
            return
        at = head.index(b"webhook-id: ") + 12
        self._got.append((head[at : head.index(b"\r", at)].decode(), time.monotonic()))
        self._data = b""
        self._transport.write(_ANSWER)
