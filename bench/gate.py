"""What the gate costs: requests per second behind uvicorn, microseconds and instructions in process.

Every server is up the whole time and asked in turns, in an order that is drawn anew each round, so that other load
on the machine meets all of them alike. Ratios are of one round; the table shows their median.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.gate_apps import APPS, drive
from bench.load import Caller, processor_seconds
from bench.report import figure, publish

_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
_SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
_CONNECTIONS = 32
_ONE = "/items/7"
_FIRST, _LAST = "/area0/things0/7", "/area19/things9/7"
# (name, application, path)
_ASKED = (
    ("bare FastAPI", "bare", _ONE),
    ("gate", "gate", _ONE),
    ("gate with access log", "gate+log", _ONE),
    ("five BaseHTTPMiddleware", "five", _ONE),
    ("slowapi + asgi-correlation-id + instrumentator", "libraries", _ONE),
    ("200 routes behind the gate: first", "many-gate", _FIRST),
    ("200 routes behind the gate: last", "many-gate", _LAST),
    ("200 routes of bare FastAPI: last", "many-bare", _LAST),
)
# (what, above, below, at least)
_RATIOS = (
    ("gate / bare", "gate", "bare FastAPI", 0.85),
    ("gate with access log / bare", "gate with access log", "bare FastAPI", 0.7),
    ("five BaseHTTPMiddleware / bare", "five BaseHTTPMiddleware", "bare FastAPI", None),
    ("libraries / bare", "slowapi + asgi-correlation-id + instrumentator", "bare FastAPI", None),
    ("gate with access log / libraries", "gate with access log", "slowapi + asgi-correlation-id + instrumentator", 1.5),
    ("200 routes: last / first", "200 routes behind the gate: last", "200 routes behind the gate: first", 0.9),
    ("200 routes: gate / bare, last", "200 routes behind the gate: last", "200 routes of bare FastAPI: last", None),
)


def run() -> None:
    """Measure behind uvicorn, then in process."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_served(name)) for name in dict.fromkeys(each[1] for each in _ASKED)}
        rates: dict[str, list[float]] = {name: [] for name, _, _ in _ASKED}
        costs: dict[str, list[float]] = {name: [] for name in rates}
        for number in range(_ROUNDS + 1):
            for name, app, path in random.sample(_ASKED, len(_ASKED)):
                port, pid = servers[app]
                before = processor_seconds(pid)
                rate, requests = _load(port, path)
                # the first round warms
                if number:
                    rates[name].append(rate)
                    costs[name].append((processor_seconds(pid) - before) / requests * 1e6)
    micros = asyncio.run(_in_process())
    figures = [figure(name, "requests/s", rates[name]) for name, _, _ in _ASKED]
    figures += [figure(name, "us CPU", costs[name]) for name, _, _ in _ASKED]
    for what, above, below, floor in _RATIOS:
        samples = [one / other for one, other in zip(rates[above], rates[below], strict=True)]
        figures.append(figure(f"{what}, requests/s", "x", samples, floor=floor))
        # what one request costs the server does not depend on who else is busy
        samples = [other / one for one, other in zip(costs[above], costs[below], strict=True)]
        figures.append(figure(f"{what}, by CPU", "x", samples, floor=floor))
    figures += [figure(f"in process: {name}", "us", samples) for name, samples in micros.items()]
    figures += [figure(f"instructions: {name}", "k", [count / 1000]) for name, count in _instructions().items()]
    publish("Gate: what every request pays", figures)


@contextlib.contextmanager
def _served(name: str) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "bench.gate_apps", name]
    with subprocess.Popen(_pinned(0, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["port"], server.pid
        finally:
            server.terminate()


def _pinned(cpu: int, command: list[str]) -> list[str]:
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return command
    return ["taskset", "-c", str(cpu), *command]


def _load(port: int, path: str) -> tuple[float, int]:
    """Return requests per second, and how many there were."""
    if shutil.which("wrk") is None:
        return asyncio.run(_callers(port, path))
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS:g}s", f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(_pinned(1, command), capture_output=True, check=True, text=True)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    assert found is not None
    assert "Non-2xx" not in done.stdout, done.stdout
    total = re.search(r"(\d+) requests in", done.stdout)
    assert total is not None
    return float(found[1]), int(total[1])


async def _callers(port: int, path: str) -> tuple[float, int]:
    loop = asyncio.get_running_loop()
    end = loop.time() + _SECONDS
    counts = [0] * _CONNECTIONS

    async def call(number: int) -> None:
        caller = await Caller.connect(f"http://127.0.0.1:{port}", "none")
        while loop.time() < end:
            await caller.call("GET", path)
            counts[number] += 1
        caller.close()

    await asyncio.gather(*map(call, range(_CONNECTIONS)))
    return sum(counts) / _SECONDS, sum(counts)


async def _in_process() -> dict[str, list[float]]:
    apps = {name: (APPS[app](), path) for name, app, path in _ASKED}
    samples: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(3 * _ROUNDS):
        for name in random.sample(list(apps), len(apps)):
            app, path = apps[name]
            samples[name].append(await drive(app, path, 100))
    return samples


def _instructions() -> dict[str, float]:
    """Return the instructions of one request, which other load does not change; nothing without valgrind."""
    if shutil.which("valgrind") is None or os.environ.get("BENCH_INSTRUCTIONS") is None:
        return {}
    wanted = [each for each in _ASKED if each[1] in {"bare", "gate", "gate+log", "libraries"}]
    return {name: (_counted(app, path, 600) - _counted(app, path, 100)) / 500 for name, app, path in wanted}


def _counted(app: str, path: str, times: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable]
        done = subprocess.run(
            [*command, "-m", "bench.gate_apps", app, str(times), path],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr[-500:]
    return int(found[1])
