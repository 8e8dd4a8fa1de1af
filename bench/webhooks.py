"""Webhooks: how many one worker delivers to a receiver on this machine, signing included, and how soon."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from bench.report import Figure, figure, publish
from bench.servers import migrated_database
from bench.webhooks_worker import deliver, feature, receive
from valhalla.features.data.notifications import Item, Notifications, composing, store
from valhalla.features.data.notifications.rules import Plan
from valhalla.features.data.notifications.wire import ChannelModel
from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database

MESSAGES, CHANNELS, ROUNDS = 20_000, 16, 3
ALONE = 5_000
RATE, SECONDS = 200, 10
# deliveries a second; milliseconds
FLOOR, GOAL = 2_000.0, 100.0
_spawn = multiprocessing.get_context("spawn")


def run() -> None:
    """Start a throw-away Postgres, a worker and a receiver, measure and publish."""
    with migrated_database("webhooks") as lent:
        figures = asyncio.run(_measure(lent.url, lent.data_dir))
    publish("Webhooks: one worker, signing included", figures)


async def _measure(url: str, data_dir: Path) -> list[Figure]:
    db = Database(url)
    made, feed = feature(db, data_dir)
    await feed.start()
    ours, theirs = _spawn.Pipe()
    with _process(receive, theirs):
        port = ours.recv()
        channels = [f"c{n}" for n in range(CHANNELS)]
        for name in channels:
            await _channel(db, made, name, port)
        await feed.refresh()
        many = [await _drain(db, url, data_dir, ours, channels, MESSAGES) for _ in range(ROUNDS)]
        alone = [await _drain(db, url, data_dir, ours, channels[:1], ALONE) for _ in range(ROUNDS)]
        with _process(deliver, url, data_dir):
            late, lost = await _steady(db, ours, channels)
    await feed.stop()
    await db.close()
    return [
        figure(f"deliveries over {CHANNELS} channels", "1/s", many, floor=FLOOR),
        figure("deliveries of one channel, in order", "1/s", alone),
        figure(f"enqueued to received at {RATE}/s", "ms", late),
        figure(f"enqueued to received at {RATE}/s, p99", "ms", [sorted(late)[int(len(late) * 0.99)]], GOAL),
        figure("messages lost", "n", [lost], 0.0),
    ]


async def _channel(db: Database, made: Notifications, name: str, port: int) -> None:
    webhook = {"url": f"http://127.0.0.1:{port}/hook"}
    value = made.stored(name, ChannelModel.model_validate({"kind": "webhook", "webhook": webhook}))
    await db.run(lambda conn: made.policy.channels.put(conn, name, value, actor="bench"))


async def _drain(db: Database, url: str, data_dir: Path, pipe: Connection, channels: list[str], messages: int) -> float:
    """Let so many wait, start the worker, and return how many a second came, from the first to the last."""
    await _enqueue(db, channels, messages)
    got: list[tuple[str, float]] = []
    with _process(deliver, url, data_dir):
        while len(got) < messages:
            await asyncio.sleep(0.2)
            pipe.send(None)
            got += pipe.recv()
        # a worker that is killed before it has written what it sent would leave the next one duplicates
        while await db.read(store.backlog):
            await asyncio.sleep(0.05)
    assert len({each for each, _ in got}) == messages
    return (messages - 1) / (got[-1][1] - got[0][1])


async def _steady(db: Database, pipe: Connection, channels: list[str]) -> tuple[list[float], int]:
    """Enqueue at a steady rate, each message in a transaction of its own; return the milliseconds of each."""
    await _enqueue(db, channels, 100)
    await asyncio.sleep(5)
    pipe.send(None)
    pipe.recv()
    sent: dict[str, float] = {}
    begin = time.monotonic()
    for n in range(RATE * SECONDS):
        await asyncio.sleep(max(0.0, begin + n / RATE - time.monotonic()))
        at = time.monotonic()
        [message] = await _enqueue(db, [channels[n % len(channels)]], 1)
        sent[message] = at
    await asyncio.sleep(2)
    pipe.send(None)
    got: dict[str, float] = dict(pipe.recv())
    return [(got[each] - at) * 1e3 for each, at in sent.items() if each in got], len(sent.keys() - got.keys())


async def _enqueue(db: Database, channels: list[str], messages: int) -> list[str]:
    now = Clock().now()
    data = {"order": 4711, "state": "paid", "note": "x" * 200}
    item = Item("order.paid", now, "info", "Order 4711 was paid", data)
    rows = [composing.row(channels[n % len(channels)], item, Plan(now), now, actor="bench") for n in range(messages)]
    made: list[str] = []
    for start in range(0, messages, 1000):
        made += await db.run(store.insert, rows[start : start + 1000])
    return made


@contextmanager
def _process(work: object, *args: object) -> Iterator[None]:
    process = _spawn.Process(target=work, args=args, daemon=True)  # pyright: ignore[reportArgumentType]
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
