"""What the proxy adds: the same application asked directly, through it, and through one that decides nothing.

All of them are up the whole time and asked in turns, in an order drawn anew each round; ratios are of one round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.load import Caller, processor_seconds, timed, together
from bench.plane import CLI, down, folder, up
from bench.report import figure, publish

_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_ALONE = int(os.environ.get("BENCH_REQUESTS", "400"))
_CALLERS = 16
_DIRECT, _BARE = "direct", "bare aiohttp proxy"
_PRODUCTION, _SANDBOX = "proxy to production", "proxy to a sandbox by header"


class _TestUser(Caller):
    """The caller whose requests are a sandbox's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        super().__init__(reader, writer, key)
        self._head += "x-test-user: alice\r\n"


def run() -> None:
    """Start everything, measure in turns and publish."""
    with folder() as data_dir, contextlib.ExitStack() as stack:
        up(data_dir)
        stack.callback(down, data_dir)
        app, _ = stack.enter_context(_started([sys.executable, "-m", "bench.proxy_apps", "application"]))
        home = f"http://127.0.0.1:{app}"
        bare = stack.enter_context(_started([sys.executable, "-m", "bench.proxy_apps", "bare", home]))
        _cli(data_dir, "sandbox", "new", "measured", "--template", "empty")
        _cli(data_dir, "sandbox", "upstream", "measured", home, "-q")
        _cli(data_dir, "sandbox", "link", "measured", "header:x-test-user=alice")
        words = ["ingress", "proxy", "--production", home, "--header", "x-test-user"]
        ours = stack.enter_context(_started([*CLI, "--data-dir", str(data_dir), *words]))
        asked = {_DIRECT: (app, 0), _BARE: bare, _PRODUCTION: ours, _SANDBOX: ours}
        waits, rates, costs = asyncio.run(_measure(asked))
    figures = [figure(f"{name}: one caller", "ms", waits[name]) for name in asked]
    figures += [
        figure(f"{name}: added, median of a round", "ms", [mine - plain for mine, plain in _pairs(waits, name, 0.5)])
        for name in (_BARE, _PRODUCTION, _SANDBOX)
    ]
    figures += [
        figure(f"{name}: added, p99 of a round", "ms", [mine - plain for mine, plain in _pairs(waits, name, 0.99)])
        for name in (_BARE, _PRODUCTION, _SANDBOX)
    ]
    figures += [figure(f"{name}: {_CALLERS} callers", "requests/s", rates[name]) for name in asked]
    figures += [figure(f"{name}: CPU", "us/request", costs[name]) for name in (_BARE, _PRODUCTION, _SANDBOX)]
    publish("HTTP proxy: what it adds to a request", figures)


async def _measure(
    asked: dict[str, tuple[int, int]],
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, list[float]]]:
    waits: dict[str, list[float]] = {name: [] for name in asked}
    rates: dict[str, list[float]] = {name: [] for name in asked}
    costs: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(_ROUNDS + 1):
        for name in random.sample(list(asked), len(asked)):
            port, pid = asked[name]
            caller = _TestUser if name == _SANDBOX else Caller
            alone, _ = await _load(caller, port, 1, _ALONE)
            before = processor_seconds(pid) if pid else 0.0
            crowd, seconds = await _load(caller, port, _CALLERS, _ALONE // 4)
            # the first round warms
            if number:
                waits[name] += alone
                rates[name].append(len(crowd) / seconds)
                if pid:
                    costs[name].append((processor_seconds(pid) - before) / len(crowd) * 1e6)
    return waits, rates, costs


async def _load(caller: type[Caller], port: int, callers: int, each: int) -> tuple[list[float], float]:
    async def work(one: Caller) -> list[float]:
        return [await timed(one.call("GET", "/things/7")) for _ in range(each)]

    if caller is Caller:
        return await together(f"http://127.0.0.1:{port}", "none", callers, work)
    opened = [await caller.connect(f"http://127.0.0.1:{port}", "none") for _ in range(callers)]
    started = asyncio.get_running_loop().time()
    samples = await asyncio.gather(*map(work, opened))
    seconds = asyncio.get_running_loop().time() - started
    for one in opened:
        one.close()
    return [sample for several in samples for sample in several], seconds


def _pairs(waits: dict[str, list[float]], name: str, part: float) -> Iterator[tuple[float, float]]:
    """Go through the rounds: a quantile of this one, and of asking directly in the same round."""
    for begin in range(0, len(waits[name]), _ALONE):
        mine, plain = (sorted(waits[each][begin : begin + _ALONE]) for each in (name, _DIRECT))
        at = min(int(_ALONE * part), _ALONE - 1)
        yield mine[at], plain[at]


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server; return its port, which it prints, and its process."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.search(r"listens on [0-9.]+:(\d+)", line)
            yield int(found[1]) if found else int(json.loads(line)["port"]), server.pid
        finally:
            server.terminate()


def _cli(data_dir: Path, *words: str) -> None:
    subprocess.run([*CLI, "--data-dir", str(data_dir), *words], check=True, stdout=subprocess.DEVNULL)
