"""What a sandbox costs a test: of four pytest workers, each test with one of its own to which it connects.

A run of tests that only begin and end is the floor. What is published is how long a test takes in its worker (making
the sandbox, connecting, a first query, letting go of it), and by how much the whole run is longer, divided by its
tests: that includes what ends sandboxes and makes the next ones beside the tests, on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.plane import down, folder, up
from bench.pool import filled
from bench.report import Figure, figure, publish
from bench.sandboxes import connect

WORKERS = 4
FEW = 100
MANY = 400
POOL = 150
ROUNDS = 3
_CONFTEST = """
import json, os, time
import pytest

lasted = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    start = time.monotonic()
    result = yield
    lasted.append((time.monotonic() - start) * 1000)
    return result


def pytest_sessionfinish(session):
    if lasted:
        with open(os.path.join(os.environ["LASTED"], os.environ["PYTEST_XDIST_WORKER"]), "w") as file:
            json.dump(lasted, file)
"""
_EMPTY = """
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    pass
"""
_SANDBOX = """
import psycopg
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_it(number, sandbox):
    with psycopg.connect(sandbox.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
"""


def run() -> None:
    """Start a control plane with a full pool, run the tests and publish."""
    os.environ |= {
        "VALHALLA_POOL_SIZE": str(POOL),
        "VALHALLA_MAX_SANDBOXES_PER_OWNER": "100000",
        "VALHALLA_ACCESS_LOG": "false",
    }
    with folder() as data_dir:
        up(data_dir)
        try:
            figures = [one for count in (FEW, MANY) for one in _compare(data_dir, count)]
        finally:
            down(data_dir)
    publish(f"Tests with a sandbox each, {WORKERS} workers", figures)


def _compare(data_dir: Path, count: int) -> list[Figure]:
    bare: list[float] = []
    each: list[float] = []
    more: list[float] = []
    for _ in range(ROUNDS):
        asyncio.run(_fill(data_dir))
        floor, empty = _run(data_dir, _EMPTY, count)
        whole, with_sandbox = _run(data_dir, _SANDBOX, count)
        bare += empty
        # without the slowest: the first of a worker finds the control plane, and loads the client
        each += sorted(with_sandbox)[:-WORKERS]
        more.append((whole - floor) / count * 1000)
    return [
        figure(f"{count} tests: an empty one, in its worker (floor)", "ms", bare),
        figure(f"{count} tests: one with a sandbox, in its worker", "ms", each),
        figure(f"{count} tests: the run is longer by, for each", "ms", more, goal=10),
    ]


async def _fill(data_dir: Path) -> None:
    postgres = await connect(data_dir)
    await filled(postgres, POOL)
    await postgres.close()


def _run(data_dir: Path, test: str, count: int) -> tuple[float, list[float]]:
    """Return the seconds of a run, and the milliseconds of each test."""
    with folder() as project:
        lasted = project / "lasted"
        lasted.mkdir(parents=True)
        (project / "conftest.py").write_text(_CONFTEST)
        (project / "pytest.ini").write_text("[pytest]\n")
        for number in range(WORKERS):
            (project / f"test_{number}.py").write_text(test.format(count=count // WORKERS))
        environment = {**os.environ, "VALHALLA_DATA_DIR": str(data_dir), "LASTED": str(lasted)}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        words = [
            "-p",
            "no:cacheprovider",
            "-p",
            "xdist.plugin",
            "-p",
            "valhalla.pytest_plugin",
            "-q",
            "-n",
            str(WORKERS),
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            check=False,
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stdout[-2000:]
        found: list[Any] = [json.loads(path.read_text()) for path in lasted.iterdir()]
    return seconds, [one for worker in found for one in worker]
