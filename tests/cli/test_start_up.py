"""The command line is there at once: what it imports, and how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM
from tests.cli.fake_plane import FakePlane

HEAVY = frozenset(["httpx", "rich", "msgspec", "sqlalchemy", "fastapi", "pydantic", "uvicorn", "asyncio", "asyncpg"])


def imported(*words: str) -> set[str]:
    """Return the top-level modules that a command line imports."""
    command = [sys.executable, "-X", "importtime", *PROGRAM[1:], *words]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode in {0, 3}, done.stderr
    return {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("words", [["--help"], ["sandbox", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    assert imported(*words).isdisjoint(HEAVY)


def test_a_command_imports_no_server_and_no_rich(tmp_path: object) -> None:
    assert imported("--url", "http://127.0.0.1:1", "sandbox", "ls").isdisjoint(
        {"rich", "pygments", "sqlalchemy", "fastapi", "pydantic", "uvicorn", "asyncpg", "psycopg"}
    )


def test_help_is_fast() -> None:
    # the processor's time, and the best of some: the machine may be busy, the budget is the program's
    def once() -> float:
        begin = os.times()
        subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        end = os.times()
        return end.children_user + end.children_system - begin.children_user - begin.children_system

    assert any(once() < 0.4 for _ in range(7))


def test_a_command_ends_at_once_after_the_answer(plane: FakePlane, data_dir: Path) -> None:
    plane.add("x")

    def once(*words: str) -> float:
        subprocess.run([*PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - plane.answered_at

    for words in (["sandbox", "ls"], ["sandbox", "env", "x", "-q"], ["sandbox", "new"], ["info"]):
        assert any(once(*words) < 0.5 for _ in range(8)), words


def test_every_command_helps_with_an_example() -> None:
    from valhalla.cli import main, sandbox

    for group in (main.cli, sandbox.command):
        for name in group.table:
            command = group.get_command(None, name)  # type: ignore[arg-type]
            assert command is not None
            assert "Example" in (command.help or ""), name
