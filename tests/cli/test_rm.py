"""``sandbox rm``: asks on a terminal, needs -y elsewhere, and says what it did."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM, Result
from tests.cli.fake_plane import FakePlane, instant

Valhalla = Callable[..., Result]


ANSWERS = [
    (b"y\n", 0, "destroyed"),
    (b"\n", 1, "running"),
    (b"n\n", 1, "running"),
    (b"\x04", 1, "running"),
]
# a new session whose controlling terminal is stdin: only there does Ctrl-C mean something
ON_ITS_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def on_a_terminal(answer: bytes, *words: str) -> tuple[int, str, str]:
    """Run with a terminal as stdin and answer the question; return exit code, stdout and stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        os.close(theirs)
        assert process.stderr is not None
        select.select([process.stderr], [], [], 10)
        asked = os.read(process.stderr.fileno(), 1000)
        os.write(ours, answer)
        out, err = process.communicate(timeout=20)
    os.close(ours)
    return process.returncode, out.decode(), (asked + err).decode()


@pytest.mark.parametrize(("answer", "code", "status"), ANSWERS)
def test_a_terminal_is_asked(plane: FakePlane, data_dir: Path, answer: bytes, code: int, status: str) -> None:
    made = plane.add("x")

    got, _, err = on_a_terminal(answer, "sandbox", "rm", "x")

    assert (got, made["status"]) == (code, status)
    assert "Destroy x (running, of ada) and everything in it? [y/N]" in err


def test_ctrl_c_at_the_question(plane: FakePlane, data_dir: Path) -> None:
    made = plane.add("x")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", ON_ITS_TERMINAL, *PROGRAM, "sandbox", "rm", "x"]
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        assert process.stderr is not None
        select.select([process.stderr], [], [], 10)
        os.read(process.stderr.fileno(), 1000)
        os.write(ours, b"\x03")
        assert process.wait(10) == 130
        assert b"Traceback" not in process.stderr.read()
    os.close(ours)
    assert made["status"] == "running"


def test_without_a_terminal_yes_is_needed(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")

    assert valhalla("sandbox", "rm", "x").code == 2
    assert plane.seen == []


def test_yes_on_a_terminal_asks_nothing(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")

    result = valhalla("sandbox", "destroy", "-y", "x")

    assert (result.code, result.out, result.err) == (0, "x is destroyed\n", "")


def test_waits_until_the_end(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")
    plane.drops_late = False

    result = valhalla("sandbox", "rm", "-y", "x", "--json")

    assert [s["status"] for s in json.loads(result.out)["items"]] == ["destroyed"]
    assert any(query.get("wait") for method, _, query, _, _ in plane.seen if method == "DELETE")


def test_no_wait(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")

    assert valhalla("sandbox", "rm", "-y", "--no-wait", "x").out == "x is cut off and being destroyed\n"


def test_already_destroyed_is_fine(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x", status="destroyed", destroyed_at=instant())

    result = valhalla("sandbox", "rm", "-y", "x")

    assert (result.code, result.out) == (0, "x is already destroyed\n")


def test_one_that_fails_does_not_keep_the_others(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    first, last = plane.add("first"), plane.add("last")

    result = valhalla("sandbox", "rm", "-y", "-q", "first", "nobody", "last", "first")

    assert (result.code, result.out) == (1, "first\nlast\n")
    assert "nobody" in result.err
    assert first["status"] == last["status"] == "destroyed"
