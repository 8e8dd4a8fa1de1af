"""``sandbox run --sealed``: what the user is told, and by which exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Process = Callable[..., Result]
TRY = "import socket\nfor _ in range(2):\n  try: socket.create_connection(('10.1.2.3', 25))\n  except OSError: pass\n"


@pytest.fixture(autouse=True)
def running(plane: FakePlane, data_dir: Path, process: Process) -> None:
    """There is a sandbox called x, whose slices are on this machine."""
    del data_dir
    plane.add("x")
    answer = plane.answer

    def local(method: str, target: str, *rest: Any) -> Any:
        status, document = answer(method, target, *rest)
        if status == 200 and target.endswith("/connection"):
            document["valkey"]["host"] = "127.0.0.1"
            document["nats"]["url"] = "nats://127.0.0.1:4222"
        return status, document

    plane.answer = local  # type: ignore[method-assign]
    if "cannot-seal" in process("--json", "sandbox", "run", "--sealed", "x", "--", "true").err:
        pytest.skip("this machine has no namespaces for us")


def test_a_quiet_program(process: Process) -> None:
    done = process("sandbox", "run", "--sealed", "x", "--", "sh", "-c", "echo out; exit 4")
    assert (done.code, done.out) == (4, "out\n")
    assert done.err == "Sealed: the program tried nothing outside of its sandbox.\n"


def test_attempts_are_told_after_the_program(process: Process) -> None:
    done = process("sandbox", "run", "--sealed", "x", "--", sys.executable, "-c", TRY)
    assert done.code == 0
    assert done.err.splitlines() == [
        "Sealed: 2 attempts to leave the sandbox were stopped.",
        "  blocked  connect 10.1.2.3:25 (2 times) [L3]",
    ]


def test_json_goes_to_stderr_because_stdout_is_the_programs(process: Process) -> None:
    done = process("--json", "sandbox", "run", "--sealed", "x", "--", sys.executable, "-S", "-c", TRY + "print('hi')")
    told = json.loads(done.err)
    assert done.out == "hi\n"
    assert [(a["what"], a["where"], a["layer"]) for a in told["attempts"]] == [("connect", "10.1.2.3:25", "L4")] * 2
    assert [told["coverage"][layer]["active"] for layer in ("L2", "L3", "L4")] == [True, True, True]


def test_new_sandboxes_are_sealed_and_destroyed_as_well(process: Process, plane: FakePlane) -> None:
    answer = plane.answer

    def created(method: str, target: str, *rest: Any) -> Any:
        status, document = answer(method, target, *rest)
        if status == 201:
            document["connection"] = answer("GET", f"/api/sandboxes/{document['id']}/connection", *rest)[1]
        return status, document

    plane.answer = created  # type: ignore[method-assign]
    assert process("sandbox", "run", "--new", "--sealed", "--", "sh", "-c", "exit 3").code == 3
    assert list(plane.sandboxes.values())[-1]["status"] == "destroying"


def test_a_sandbox_whose_slices_have_no_address(process: Process, plane: FakePlane) -> None:
    answer = plane.answer

    def lost(method: str, target: str, *rest: Any) -> Any:
        status, document = answer(method, target, *rest)
        if status == 200 and target.endswith("/connection"):
            document["valkey"]["host"] = "nobody.invalid"
        return status, document

    plane.answer = lost  # type: ignore[method-assign]
    done = process("sandbox", "run", "--sealed", "x", "--", "touch", "hit")
    assert (done.code, Path("hit").exists()) == (1, False)
    assert "nobody.invalid:6 has no address" in done.err
