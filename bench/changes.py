"""How soon a changed entry of configuration, or a flag, is seen by four processes, with 10,000 entries there.

Counted from the moment in which the writer sends its request, so the write itself is in it. Two kinds of four processes
at the same time: some that follow the database as control planes do, some that follow over HTTP as programs do.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from bench import plane
from bench.report import figure, publish

ENTRIES: Final = 10_000
CHANGES: Final = int(os.environ.get("BENCH_CHANGES", "150"))
PROCESSES: Final = 4
_CONFIG, _FLAG = "/system/config", "/system/flags"
_PAUSE: Final = 0.05


def run() -> None:
    """Measure and publish."""
    with plane.folder() as data_dir:
        plane.up(data_dir)
        try:
            lines = [line for kind in ("feed", "http") for line in _kind(data_dir, kind)]
            publish("Changes: seen by four processes", lines)
        finally:
            plane.down(data_dir)


def _kind(data_dir: Path, kind: str) -> list[Any]:
    from valhalla import Client

    with Client(data_dir=data_dir) as client:
        config, flags = client.registry("config"), client.registry("flags")
        _fill(config)
        switch = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
        flags.put("bench", {**switch, "description": "0"})
        children = [_child(kind, data_dir) for _ in range(PROCESSES)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        sent: dict[tuple[str, int], float] = {}
        for number in range(1, CHANGES + 1):
            sent["config", number] = time.monotonic()
            config.patch("bench/0", {"value": number})
            time.sleep(_PAUSE)
            sent["flags", number] = time.monotonic()
            flags.patch("bench", {"description": str(number)})
            time.sleep(_PAUSE)
        time.sleep(1)
    seen: dict[str, list[float]] = {"config": [], "flags": []}
    for child in children:
        child.terminate()
        told, _ = child.communicate(timeout=20)
        for line in told.splitlines():
            what, number, at = line.split()
            seen[what].append((float(at) - sent[what, int(number)]) * 1000)
    how = {"feed": "following the database", "http": "following over HTTP"}[kind]
    for what, times in seen.items():
        # what two quick changes make one of is seen once
        assert len(times) > 0.9 * PROCESSES * CHANGES, (kind, what, len(times))
    return [
        figure(f"config, {ENTRIES:,} entries, {how}", "ms", seen["config"], 50, tail=True),
        figure(f"flags, {how}", "ms", seen["flags"], 50, tail=True),
    ]


def _fill(config: Any) -> None:
    if next(iter(config.iterate(q="bench/9999")), None) is not None:
        return
    for start in range(0, ENTRIES, 500):
        puts = [{"op": "put", "key": f"bench/{n}", "value": {"value": 0}} for n in range(start, start + 500)]
        config.bulk(puts)


def _child(kind: str, data_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.changes", kind, str(data_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _tell(what: str, number: int) -> None:
    if number:
        print(what, number, time.monotonic(), flush=True)


async def _feed(data_dir: Path) -> None:
    from valhalla.features.operations.config.contracts import Entry
    from valhalla.features.operations.flags.contracts import Flag
    from valhalla.kit.changes import Feed
    from valhalla.kit.db import Database
    from valhalla.kit.registry import Registry
    from valhalla.server.database import running_url
    from valhalla.server.options import ServeOptions

    db = Database(running_url(ServeOptions(data_dir=data_dir)))
    feed = Feed(db)
    nobody: Any = None
    feed.add(Registry("config", Entry, nobody))
    feed.add(Registry("flags", Flag, nobody))
    await feed.start()
    feed.subscribe("config", lambda now: _tell("config", now.records["bench/0"].value.value))
    feed.subscribe("flags", lambda now: _tell("flags", int(now.records["bench"].value.description or 0)))
    print("ready", flush=True)
    await asyncio.Event().wait()


def _http(data_dir: Path) -> None:
    from valhalla import Client
    from valhalla.sdk.following import Followed

    def config(document: dict[str, Any], before: Any) -> Any:
        if before is not None and "bench/0" in (changed := document.get("changed") or document["values"]):
            _tell("config", changed["bench/0"])
        return document

    def flags(document: dict[str, Any], before: Any) -> Any:
        if before is not None:
            [one] = [flag for flag in document["flags"] if flag["key"] == "bench"]
            _tell("flags", int(one["description"]))
        return document

    client = Client(data_dir=data_dir)
    held = (
        Followed(client, "/system/config/values", {"delta": "true"}, config),
        Followed(client, "/system/flags/snapshot", {}, flags),
    )
    print("ready", flush=True)
    while held:
        time.sleep(60)


if __name__ == "__main__":
    asyncio.run(_feed(Path(sys.argv[2]))) if sys.argv[1] == "feed" else _http(Path(sys.argv[2]))
